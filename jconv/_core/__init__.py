"""The base of every other package: geometry, validation, layouts, problems, files.

Nothing here is meant for users; nothing here imports another package of jconv.
"""

"""What every other package builds on: geometry, validation, layouts, problems, files.

Nothing here is meant for users; nothing here imports another package of jconv.
"""

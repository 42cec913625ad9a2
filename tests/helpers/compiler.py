"""Settings of XLA's CPU compiler: fast compilation for most tests, and the defaults for the rest.

Most of the time of the tests is compilation. `make test` therefore compiles without optimizing;
the full run (`make test-slow`) compiles as users do.
"""

import os
from importlib.metadata import version

# Later versions of jaxlib end the process if they meet this flag.
HAS_FUSION_EMITTERS_FLAG = version("jaxlib").startswith("0.10.")

FAST_FLAGS = ["--xla_backend_optimization_level=0"]
# For tests about memory or the text of compiled programs: what users get, whatever XLA_FLAGS says.
USER_OPTIONS: dict = {"xla_backend_optimization_level": 3}
if HAS_FUSION_EMITTERS_FLAG:
    FAST_FLAGS.append("--xla_cpu_use_fusion_emitters=false")  # compiles four times faster
    USER_OPTIONS["xla_cpu_use_fusion_emitters"] = True


def add_xla_flags(flags):
    """Return `XLA_FLAGS` with `flags` appended; of a repeated flag XLA takes the last."""
    return " ".join([os.environ.get("XLA_FLAGS", ""), *flags]).strip()


def on_devices(count):
    """Return the environment of a subprocess in which JAX has `count` CPU devices."""
    flags = add_xla_flags([f"--xla_force_host_platform_device_count={count}"])
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}

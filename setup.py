"""The one thing that setup.cfg cannot say: an extension that may fail to build.

Without a compiler the install succeeds, and the reference implementation of the channels runs.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "pipeline.channels._native",
            ["pipeline/channels/_native.c"],
            depends=["pipeline/channels/_ring.h"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
            optional=True,
            py_limited_api=True,
        )
    ]
)

"""The qcow2 image format, after docs/interop/qcow2.rst of QEMU; the driver is over it."""

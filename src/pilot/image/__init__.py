"""Builds the standard image, the guest root, the guest kernel and its initramfs."""

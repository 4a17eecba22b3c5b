"""The books of one disk, pure: map, slots, named roots, and the records that carry their changes. No file, no clock."""

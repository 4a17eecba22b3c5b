"""What machines ask of this host, by streams that they open (wire/outward.py): who asks, what is answered, where."""

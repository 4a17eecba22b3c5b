"""What the facades may ask of pilotd: names in, rows and running operations out; and pilotd's own watches."""

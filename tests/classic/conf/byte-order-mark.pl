$grace = 600;
#: grace = 600
#: note = ["$pat: read by our format uw"]
1;

"""Where samples come from: bundled sets, torchvision's, folders, tables, arrays, and the user's own."""

"""What a stream looks like: drawing, camera, video coding."""

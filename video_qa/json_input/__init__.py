"""JSON that others wrote: read without surprises, checked, complained about precisely."""

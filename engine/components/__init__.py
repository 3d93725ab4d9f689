"""From a preset's sections to torch objects: data, model, loss, optimizer, schedule, device."""

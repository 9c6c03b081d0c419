"""Pure models of everything that crosses a process: events, commands, mail, positions, errors, keys."""

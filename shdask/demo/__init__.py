"""The whole main job on the emulator, with no account: what `shdask demo` runs."""

# What AppArmor lets the containers of apparmor.rs do: everything but to look at one file.
profile belljar-suite flags=(attach_disconnected, mediate_deleted) {
  capability,
  file,
  mount,
  umount,
  network,
  signal,
  ptrace,
  unix,
  deny /etc/secret rw,
}

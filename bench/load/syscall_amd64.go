package main

// arch/x86/entry/syscalls/syscall_64.tbl
const (
	sysSendmmsg = 307
	sysSetns    = 308
)

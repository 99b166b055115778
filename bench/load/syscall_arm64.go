package main

// include/uapi/asm-generic/unistd.h
const (
	sysSendmmsg = 269
	sysSetns    = 268
)

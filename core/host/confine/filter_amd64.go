package confine

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// refusedHere and modesHere are the calls of this processor alone.
var (
	refusedHere = []uint32{unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT, unix.SYS_USELIB, unix.SYS__SYSCTL, unix.SYS_CREATE_MODULE}
	modesHere   = map[uint32]int{unix.SYS_CHMOD: 1, unix.SYS_OPEN: 2, unix.SYS_CREAT: 1, unix.SYS_MKNOD: 1}
)

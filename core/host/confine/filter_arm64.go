package confine

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// refusedHere and modesHere are the calls of this processor alone.
var (
	refusedHere []uint32
	modesHere   map[uint32]int
)

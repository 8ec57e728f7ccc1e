package peer

import (
	"net"
	"syscall"
)

const tcpUserTimeout = 18 // TCP_USER_TIMEOUT, which package syscall does not name

// tune makes a connection notice that the other machine is gone.
func tune(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		// Where it can't be set, the connection lives as long as the kernel's default says.
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(unackedTimeout.Milliseconds()))
	})
}

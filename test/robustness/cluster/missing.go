package cluster

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// Missing says what this machine lacks to run clusters; empty if nothing.
func Missing() string {
	if os.Getuid() != 0 {
		return "root, for network namespaces"
	}
	if _, err := exec.LookPath("nft"); err != nil {
		return "nft (package nftables)"
	}
	if err := unix.Access("/dev/fuse", unix.R_OK|unix.W_OK); err != nil {
		return "/dev/fuse"
	}
	ns, err := newNamespace()
	if err != nil {
		return "network namespaces: " + err.Error()
	}
	if err := ns.Close(); err != nil {
		return err.Error()
	}
	return ""
}

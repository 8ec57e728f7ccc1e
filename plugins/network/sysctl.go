package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const forwardSysctl = "/proc/sys/net/ipv4/ip_forward"

// enableForwarding turns on IPv4 forwarding. What it was before is kept in dir, so that
// restoreForwarding leaves the node as it was found.
func enableForwarding(dir string) error {
	cur, err := os.ReadFile(forwardSysctl)
	if err != nil {
		return fmt.Errorf("reading ip_forward: %w", err)
	}
	if strings.TrimSpace(string(cur)) == "1" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(dir, "ip_forward"), cur, 0o600); err != nil {
		return fmt.Errorf("keeping the former ip_forward: %w", err)
	}
	if err := os.WriteFile(forwardSysctl, []byte("1"), 0o644); err != nil {
		return fmt.Errorf("enabling ip_forward: %w", err)
	}
	return nil
}

func restoreForwarding(dir string) error {
	file := filepath.Join(dir, "ip_forward")
	was, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the former ip_forward: %w", err)
	}
	if err := os.WriteFile(forwardSysctl, was, 0o644); err != nil {
		return fmt.Errorf("restoring ip_forward: %w", err)
	}
	return os.Remove(file)
}

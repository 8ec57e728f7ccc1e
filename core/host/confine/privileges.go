package confine

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// capabilities that a guest may be given, by the names of capabilities(7).
var capabilities = map[string]uintptr{
	"SYS_ADMIN": unix.CAP_SYS_ADMIN, "NET_ADMIN": unix.CAP_NET_ADMIN, "NET_RAW": unix.CAP_NET_RAW,
	"NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE, "CHOWN": unix.CAP_CHOWN, "FOWNER": unix.CAP_FOWNER,
	"DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE, "IPC_LOCK": unix.CAP_IPC_LOCK, "BPF": unix.CAP_BPF,
}

func capabilityNumbers(names []string) []uintptr {
	var out []uintptr
	for _, name := range names {
		out = append(out, capabilities[name])
	}
	return out
}

// has reports whether the guest was given one of the capabilities.
func (g *Guest) has(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(g.Capabilities, n) })
}

// noPrivileges leaves only the named ones in the set of capabilities that a program could
// have, where there is a set to empty, and forbids to gain any by running a program.
func noPrivileges(kept []string) error {
	if os.Geteuid() == 0 {
		keep := capabilityNumbers(kept)
		for c := uintptr(0); ; c++ {
			if slices.Contains(keep, c) {
				continue
			}
			err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
			if errors.Is(err, unix.EINVAL) {
				break // the kernel knows no more
			}
			if err != nil {
				return fmt.Errorf("capability %d: %w", c, err)
			}
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
			return fmt.Errorf("ambient capabilities: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	return nil
}

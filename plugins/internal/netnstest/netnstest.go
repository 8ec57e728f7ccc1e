// Package netnstest gives the tests of plugins that change networks a network namespace of
// their own, so that they never touch the machine's.
package netnstest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// inside is set in the environment of tests that are in a namespace of their own.
const inside = "PINTLE_TEST_INSIDE_NETNS"

// Main is for a package's TestMain: it runs the tests again in a network namespace of their
// own and returns what to exit with. Without root it runs none, and says so.
func Main(m *testing.M) int {
	if os.Getenv(inside) != "" {
		return m.Run()
	}
	if os.Getuid() != 0 {
		fmt.Println("skipped: needs root for network namespaces")
		return 0
	}
	cmd := exec.CommandContext(context.Background(), os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Run(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

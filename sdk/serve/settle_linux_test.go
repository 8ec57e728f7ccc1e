package serve

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A loader writes addresses into pages of the executable that are read-only afterwards; with
// cgo there are some. They must stay as they are.
func TestDropExecutablePagesKeepsWhatWasWritten(t *testing.T) {
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	page, err := unix.Mmap(int(exe.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Munmap(page); err != nil {
			t.Error(err)
		}
	}()
	const written = "relocated"
	copy(page, written)
	if err := unix.Mprotect(page, unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	if err := dropExecutablePages(); err != nil {
		t.Fatal(err)
	}
	if got := string(page[:len(written)]); got != written {
		t.Errorf("the page begins with %q", got)
	}
}

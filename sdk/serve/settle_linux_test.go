package serve

import (
	"fmt"
	"os"
	"strings"
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

// What an idle process has mapped of its program shrinks to what it uses.
func TestUnmap(t *testing.T) {
	touch(t)
	before, err := mappedOfFiles()
	if err != nil {
		t.Fatal(err)
	}
	if before < worthUnmapping {
		t.Skipf("the program of the test is too small: %d bytes are mapped", before)
	}
	Unmap()
	after, err := mappedOfFiles()
	if err != nil {
		t.Fatal(err)
	}
	if after > before/2 {
		t.Errorf("%d bytes are mapped of %d", after, before)
	}
}

// touch reads what is mapped of the executable and can be read.
func touch(t *testing.T) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[5] != exe || fields[1] != "r-xp" && fields[1] != "r--p" {
			continue
		}
		var from, to uintptr
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err != nil {
			t.Fatal(err)
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_POPULATE_READ); errno != 0 {
			t.Skipf("the kernel can not map a file at once: %v", errno)
		}
	}
}

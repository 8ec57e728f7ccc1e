package process

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// settled is how long after its start a process has done what it does only once.
const settled = 3 * time.Second

// TrimAfterStart gives back, once the process has settled, the memory that only its start
// needed: free heap, and the pages of the executable that were mapped to initialise
// packages. The kernel could take the latter at any time; as it does not count them as
// free, several processes of one large binary would seem to need far more than they do.
// What is used again is mapped again from the page cache.
func TrimAfterStart() {
	time.AfterFunc(settled, giveBack)
}

func giveBack() {
	debug.FreeOSMemory()
	// Nothing depends on it, and there is nobody to tell.
	_ = dropExecutablePages()
}

func dropExecutablePages() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("finding this executable: %w", err)
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("reading the memory map: %w", err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		// Only what can't have been written to: private changes would be lost.
		if len(fields) < 6 || fields[5] != exe || fields[1] != "r-xp" && fields[1] != "r--p" {
			continue
		}
		var from, to uintptr
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err != nil {
			return fmt.Errorf("memory map: %q: %w", fields[0], err)
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return s.Err()
}

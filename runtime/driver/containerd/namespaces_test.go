package containerd

import (
	"errors"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// The main thread cannot end, so whatever namespaces it was left in would be the ones
// that /proc/self shows from then on.
func TestTheMainThreadIsSpared(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				if err := onThread(func() error {
					if unix.Gettid() == os.Getpid() {
						return errors.New("ran on the main thread")
					}
					return nil
				}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

package probe

import (
	"io"
	"strings"
	"sync"
	"testing"
)

func TestOutputIsBoundedAndShared(t *testing.T) {
	var o Output
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if _, err := io.Copy(&o, strings.NewReader(strings.Repeat("x", 3*maxOutput))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(o.String()); n != maxOutput {
		t.Errorf("%d bytes were kept, want %d", n, maxOutput)
	}
}

package containerd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
)

// Teardown removes all sandboxes and containers and, with images set, the images and the
// containerd namespace, so that nothing of the driver is left. The driver stays usable.
func (d *Driver) Teardown(ctx context.Context, imagesToo bool) error {
	d.mu.Lock()
	var ids []string
	for id := range d.sandboxes {
		ids = append(ids, id)
	}
	d.mu.Unlock()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	fail := func(err error) {
		if err != nil {
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		}
	}
	slots := make(chan struct{}, 8)
	for _, id := range ids {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			fail(d.RemoveSandbox(ctx, id))
		})
	}
	wg.Wait()
	// Containers whose sandbox is unknown.
	rest, _ := d.ListContainers(ctx)
	for _, c := range rest {
		fail(d.RemoveContainer(ctx, c.ID))
	}
	if imagesToo {
		list, err := d.ListImages(ctx)
		fail(err)
		for _, i := range list {
			fail(d.RemoveImage(ctx, i.ID))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("tear down containers: %w", errors.Join(errs...))
	}
	for _, sub := range []string{"sandboxes", "containers"} {
		fail(removeStateDir(filepath.Join(d.cfg.Dir, sub)))
	}
	return errors.Join(errs...)
}

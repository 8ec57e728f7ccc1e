package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// Collector removes unused images when the disk is full.
type Collector struct {
	Images driver.Images
	// InUse lists the ids of images that containers are made of.
	InUse func(ctx context.Context) (map[string]bool, error)
	// Usage of the disk in percent.
	Usage func() (int, error)
	// High starts and Low ends collection, in percent.
	High, Low int
	// MinAge since the last use before an image may go.
	MinAge time.Duration
	Log    *slog.Logger
}

// DiskUsage measures the file system that path is on, in percent.
func DiskUsage(path string) (int, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("measure disk of %s: %w", path, err)
	}
	if st.Blocks == 0 {
		return 0, nil
	}
	// As df counts: what is reserved for root is neither used nor free.
	used := st.Blocks - st.Bfree
	return int(100 * used / (used + st.Bavail)), nil
}

// Collect removes unused images, the longest unused first, until the disk is below Low.
// It does nothing while the disk is below High.
func (c *Collector) Collect(ctx context.Context) (removed []string, err error) {
	use, err := c.Usage()
	if err != nil || use < c.High {
		return nil, err
	}
	// Asked before the images: one that is used in between is in the list of neither.
	list, err := c.Images.ListImages(ctx)
	if err != nil {
		return nil, err
	}
	busy, err := c.InUse(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b driver.Image) int { return a.LastUsed.Compare(b.LastUsed) })
	var errs []error
	for _, i := range list {
		if i.Pinned || busy[i.ID] || time.Since(i.LastUsed) < c.MinAge {
			continue
		}
		if err := c.Images.RemoveImage(ctx, i.ID); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, i.ID)
		c.Log.Info("removed an unused image", "image", i.ID, "tags", i.RepoTags)
		if use, err = c.Usage(); err != nil || use < c.Low {
			errs = append(errs, err)
			break
		}
	}
	return removed, errors.Join(errs...)
}

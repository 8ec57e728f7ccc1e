package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/controlplane"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/core/store"
)

// statusStorage shows the store's alarms; a store without any is one short line.
func statusStorage(ctx context.Context, w io.Writer, dir layout.Dir) []error {
	o := memberOptions{options: options{dataDir: string(dir)}}
	var st store.Stats
	if err := o.call(ctx, "GET", controlplane.StoragePath, nil, &st); err != nil {
		return []error{fmt.Errorf("store: %w", err)}
	}
	if len(st.Alarms) == 0 {
		fmt.Fprintf(w, "store\trevision %d, %d objects, %d MiB on disk, %d MiB free\n", st.Revision, st.Keys, st.DiskBytes>>20, st.FreeBytes>>20)
	}
	var errs []error
	for _, a := range st.Alarms {
		fmt.Fprintf(w, "store\talarm %s: %s\n", a.Name, a.Message)
		errs = append(errs, fmt.Errorf("the store has the alarm %s", a.Name))
	}
	return errs
}

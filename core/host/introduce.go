package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// introduce learns who the plugin is, configures it and grants its permissions.
func (i *instance) introduce(ctx context.Context) error {
	g := i.guest
	i.info = g.base.Info()
	if i.info.Name != i.spec.Name {
		return refuse("the plugin calls itself %q, its entry %q: change the entry's name", i.info.Name, i.spec.Name)
	}
	if err := i.heldTo(i.artifact.Manifest); err != nil {
		return err
	}
	var pending []policyRule
	i.granted, pending = i.spec.granted(i.info.Permissions)
	_, uses := i.entry.usesOf(i.artifact.Manifest)
	machine := i.spec.pendingMachine(i.artifact.Manifest)
	i.update(func(st *Status) {
		st.Version, st.Description, st.Points = i.info.Version, i.info.Description, g.points
		st.Requested, st.Granted, st.PendingPermissions = i.info.Permissions, i.granted, pending
		st.Placement = i.entry.Placement
		st.SHA256, st.Digest, st.SignedBy = i.spec.SHA256, i.artifact.Digest, i.artifact.SignedBy
		st.PendingMachine = machine
		st.Uses, st.PendingUses = i.spec.Uses, uses
		st.setGranted(i.spec.Name, pending)
	})
	i.supervisor.tellPending(len(pending), machine)
	schema := g.base.ConfigSchema()
	settings, err := remote.CheckSettings(ctx, schema, i.spec.Settings)
	if err != nil {
		return refuse("settings: %s", i.spec.Origin.hide(err.Error()))
	}
	i.warnOfSettings(schema)
	callCtx, cancel := context.WithTimeout(ctx, i.host.config.CallTimeout)
	defer cancel()
	if err := g.base.Configure(callCtx, settings); err != nil {
		if _, transport := status.FromError(err); transport || callCtx.Err() != nil {
			return fmt.Errorf("configure: %w", err)
		}
		return refuse("settings: %s", i.spec.Origin.hide(err.Error()))
	}
	if r, ok := g.base.(plugin.Reacher); ok && g.client == nil { // a process was told by Configure
		if err := r.Reach(callCtx, g.env); err != nil {
			return fmt.Errorf("reach: %w", err)
		}
	}
	rules := i.granted
	if old := i.serving.Load(); old != nil && old != i {
		rules = union(rules, old.granted) // both run for a while, and are one to the API server
	}
	return i.grant(ctx, rules)
}

// grant keeps at it until the API server is there.
func (i *instance) grant(ctx context.Context, rules []policyRule) error {
	config := &i.host.config
	if config.Client == nil || !config.ManagePermissions {
		return nil
	}
	wait := 50 * time.Millisecond
	for {
		err := EnsurePermissions(ctx, config.Client, i.spec.Name, rules)
		if err == nil {
			return nil
		}
		reason := fmt.Sprintf("waiting to be granted its permissions: %v", err)
		i.update(func(st *Status) { st.Reason = reason })
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-i.guest.ended:
			timer.Stop()
			return errors.New(reason)
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		wait = min(2*wait, 2*time.Second)
	}
}

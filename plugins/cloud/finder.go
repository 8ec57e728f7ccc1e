package cloud

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	sdkcloud "github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/peers"
)

// finder finds the provider among the plugins.
type finder struct {
	want     string // name of the plugin, empty for the only one
	log      *slog.Logger
	services func(ctx context.Context, name string) (sdkcloud.Services, error)

	name    string
	session uint64
	has     string // what it offers
	said    string // the last reason to wait
}

const (
	// askTimeout bounds the question what a provider offers.
	askTimeout = 10 * time.Second
	// askAgain is how soon it is asked again where it could not answer.
	askAgain = 500 * time.Millisecond
)

// find returns the provider's services when it is there. list is what is known, nil before
// anything is.
func (f *finder) find(ctx context.Context, list []peers.Peer, lists <-chan []peers.Peer) (sdkcloud.Services, error) {
	for {
		peer, why := f.choose(list)
		if why == "" {
			services, err := f.ask(ctx, peer)
			if err == nil {
				f.name, f.session, f.has = peer.Name, peer.Session, describe(services)
				return services, nil
			}
			why = err.Error()
		}
		if list != nil && why != f.said {
			f.said = why
			f.log.Info("waiting for the provider", "reason", why)
		}
		again := time.NewTimer(askAgain)
		select {
		case list = <-lists:
		case <-again.C:
		case <-ctx.Done():
		}
		again.Stop()
		if ctx.Err() != nil {
			return sdkcloud.Services{}, ctx.Err()
		}
	}
}

// choose returns the provider, or why there is none yet.
func (f *finder) choose(list []peers.Peer) (peers.Peer, string) {
	if f.want == "" && len(list) > 1 {
		names := make([]string, len(list))
		for i, p := range list {
			names[i] = p.Name
		}
		return peers.Peer{}, fmt.Sprintf("settings.provider must name one of the plugins %v", names)
	}
	i := slices.IndexFunc(list, func(p peers.Peer) bool { return f.want == "" || p.Name == f.want })
	switch {
	case i < 0 && f.want == "":
		return peers.Peer{}, "no plugin offers the point cloud"
	case i < 0:
		return peers.Peer{}, fmt.Sprintf("plugin %s, which settings.provider names, does not offer the point cloud", f.want)
	case !list[i].Available:
		return peers.Peer{}, fmt.Sprintf("plugin %s is away", list[i].Name)
	}
	return list[i], ""
}

func (f *finder) ask(ctx context.Context, p peers.Peer) (sdkcloud.Services, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	services, err := f.services(ctx, p.Name)
	if err != nil {
		return services, fmt.Errorf("plugin %s does not say what it offers: %w", p.Name, err)
	}
	return services, nil
}

// describe says what a provider offers.
func describe(s sdkcloud.Services) string {
	parts := []string{s.Provider}
	for _, part := range []struct {
		name string
		has  bool
	}{{"instances", s.Instances != nil}, {"load balancers", s.LoadBalancers != nil}, {"routes", s.Routes != nil}} {
		if part.has {
			parts = append(parts, part.name)
		}
	}
	return strings.Join(parts, ", ")
}

// follow returns when the provider is not the one that was found any more. One that is away is
// waited for: what is asked of it meanwhile fails and is tried again.
func (f *finder) follow(ctx context.Context, lists <-chan []peers.Peer) error {
	now := *f
	for {
		var list []peers.Peer
		select {
		case list = <-lists:
		case <-ctx.Done():
			return ctx.Err()
		}
		i := slices.IndexFunc(list, func(p peers.Peer) bool { return p.Name == f.name })
		if i >= 0 && (!list[i].Available || list[i].Session == f.session) {
			continue
		}
		if _, err := now.find(ctx, list, lists); err != nil {
			return err
		}
		if now.name != f.name || now.has != f.has {
			return fmt.Errorf("the provider was plugin %s (%s) and is now %s (%s)", f.name, f.has, now.name, now.has)
		}
		f.session = now.session
		f.log.Info("the provider was started again", "plugin", f.name)
	}
}

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Network is a bridge in a namespace of its own, with a namespace for each server. Nothing
// of it has a name outside: it is gone when nobody has it open.
type Network struct {
	hub   *os.File
	sites []*os.File
}

// address of site i, and of the clients, who are at the bridge.
func address(i int) string { return fmt.Sprintf("10.99.0.%d", i+1) }

const clients = "10.99.0.100"

// NewNetwork makes n sites that reach one another and the hub.
func NewNetwork(n int) (*Network, error) {
	w := &Network{}
	hub, err := newNamespace()
	if err != nil {
		return nil, fmt.Errorf("a network namespace: %w", err)
	}
	w.hub = hub
	for range n {
		site, err := newNamespace()
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		w.sites = append(w.sites, site)
	}
	if err := w.connect(); err != nil {
		return nil, errors.Join(fmt.Errorf("connecting namespaces: %w", err), w.Close())
	}
	return w, nil
}

func (w *Network) connect() error {
	return inside(w.hub, func() error {
		if err := up("lo", ""); err != nil {
			return err
		}
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "hub"}}
		if err := netlink.LinkAdd(bridge); err != nil {
			return err
		}
		for i, site := range w.sites {
			port := &netlink.Veth{
				LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("site%d", i), MasterIndex: bridge.Index},
				PeerName:  "eth0", PeerNamespace: netlink.NsFd(int(site.Fd())),
			}
			if err := netlink.LinkAdd(port); err != nil {
				return err
			}
			if err := up(port.Name, ""); err != nil {
				return err
			}
			err := inside(site, func() error { return errors.Join(up("lo", ""), up("eth0", address(i)+"/24")) })
			if err != nil {
				return err
			}
		}
		return up("hub", clients+"/24")
	})
}

func up(name, addr string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if addr != "" {
		a, err := netlink.ParseAddr(addr)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, a); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(l)
}

// Close lets go of the namespaces.
func (w *Network) Close() error {
	errs := []error{w.hub.Close()}
	for _, s := range w.sites {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// Cut drops packets: drop[i] lists the sites that site i hears nothing of; -1 are the
// clients. It replaces earlier cuts; nil heals all.
func (w *Network) Cut(drop map[int][]int) error {
	for i, site := range w.sites {
		var rules strings.Builder
		rules.WriteString("table inet cut\ndelete table inet cut\n")
		if from := drop[i]; len(from) > 0 {
			rules.WriteString("table inet cut { chain in { type filter hook input priority 0;\n")
			for _, f := range from {
				source := clients
				if f >= 0 {
					source = address(f)
				}
				fmt.Fprintf(&rules, "ip saddr %s drop\n", source)
			}
			rules.WriteString("}\n}\n")
		}
		err := inside(site, func() error {
			nft := exec.CommandContext(context.Background(), "nft", "-f", "-")
			nft.Stdin = strings.NewReader(rules.String())
			var out bytes.Buffer
			nft.Stdout, nft.Stderr = &out, &out
			if err := nft.Run(); err != nil {
				return fmt.Errorf("nft at site %d: %w: %s", i, err, out.Bytes())
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Dial connects as a client, from the hub.
func (w *Network) Dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = inside(w.hub, func() error {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// newNamespace makes a network namespace that only its descriptor holds.
func newNamespace() (ns *os.File, err error) {
	err = withThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return ns, err
}

// inside runs do on a thread in the namespace. Connections and processes that it makes
// stay there.
func inside(ns *os.File, do func() error) error {
	return withThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return do()
	})
}

// withThread runs do on a thread that may change its network namespace.
func withThread(do func() error) error {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer own.Close()
	err = do()
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back) // The thread stays locked and ends with its goroutine.
	}
	runtime.UnlockOSThread()
	return err
}

package core

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// ipWrites is what becomes of addresses with one write of a service.
type ipWrites struct {
	s               *services
	reader          resource.Reader
	namespace, name string
	// ips are all addresses of the service, for messages.
	ips    []string
	writes []*ipWrite
	// gone are the addresses that the service has no more.
	gone  []netip.Addr
	ports []int
	// done has the outcome of writes that go together with the service's; nil where they
	// have been done before or are to be done after it.
	done chan error
}

// ipWrite is the object of one address that a service gets.
type ipWrite struct {
	ip netip.Addr
	// chosen says that nobody has asked for this address by name.
	chosen bool
	// uid of the object once it is written.
	uid string
}

// createTimeout bounds the writes of addresses, which do not end with the request.
const createTimeout = 10 * time.Second

// create writes the objects that are not written yet, and takes them back where one can't be.
func (w *ipWrites) create(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	for _, x := range w.writes {
		if x.uid != "" {
			continue
		}
		uid, err := w.s.addresses.create(ctx, x.ip, w.namespace, w.name)
		switch {
		case err == nil:
			x.uid = uid
			continue
		case apierrors.IsAlreadyExists(err) && x.chosen:
			// Somebody has made the object since it was looked for; the next try gets another.
			err = apierrors.NewServerTimeout(servicesResource, "create", 1)
		case apierrors.IsAlreadyExists(err):
			err = refused(w.name, w.ips, x.ip, errTaken)
		default:
			err = fmt.Errorf("allocating %s for service %s/%s: %w", x.ip, w.namespace, w.name, err)
		}
		return errors.Join(err, w.takeBack(ctx))
	}
	return nil
}

// takeBack deletes the objects that have been written.
func (w *ipWrites) takeBack(ctx context.Context) error {
	var errs []error
	for _, x := range w.writes {
		if x.uid == "" {
			continue
		}
		errs = append(errs, w.s.drop(ctx, x.ip, x.uid))
		x.uid = ""
	}
	return errors.Join(errs...)
}

// unclaim lets others have the addresses; the objects say who has them now.
func (w *ipWrites) unclaim() {
	for _, x := range w.writes {
		w.s.unclaim(x.ip)
	}
}

// end makes the objects of addresses agree with what has become of the service. Where it is
// not known, the controller that repairs addresses finds out later.
func (w *ipWrites) end(ctx context.Context, failed error) error {
	defer w.unclaim()
	var err error
	if w.done != nil {
		err = <-w.done
	}
	switch {
	case errors.Is(failed, resource.ErrUncertain):
		return err
	case failed != nil:
		w.s.ports.giveBack(w.ports)
		return errors.Join(err, w.takeBack(ctx))
	case err != nil:
		w.s.ports.giveBack(w.ports)
		return err
	}
	// Those of a service that seemed to exist are not written yet.
	if err := w.create(ctx); err != nil {
		w.s.ports.giveBack(w.ports)
		return err
	}
	w.s.ports.keep(w.ports, w.namespace+"/"+w.name)
	var errs []error
	for _, ip := range w.gone {
		errs = append(errs, w.s.release(ctx, w.reader, ip, w.namespace, w.name))
	}
	return errors.Join(errs...)
}

// gone reports whether an object to be deleted is not there any more.
func gone(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) }

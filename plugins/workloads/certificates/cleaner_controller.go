package certificates

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certificateslisters "k8s.io/client-go/listers/certificates/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

const (
	// settledStay is how long a request stays that was signed, denied or has failed.
	settledStay = time.Hour
	// pendingStay is how long one stays that nobody decides about, or nobody signs.
	pendingStay = 24 * time.Hour
)

// Cleaner deletes requests that have served their time.
type Cleaner struct {
	kit      control.Kit
	loop     *control.Loop
	requests certificateslisters.CertificateSigningRequestLister
	watches  control.Watches
	now      func() time.Time
}

// NewCleaner returns the controller. The informers of kit must not have been started.
func NewCleaner(kit control.Kit) (*Cleaner, error) {
	requests := kit.Informers.Certificates().V1().CertificateSigningRequests()
	c := &Cleaner{kit: kit, requests: requests.Lister(), now: time.Now}
	c.loop = control.NewLoop("csrcleaner", kit.Log, c.sync)
	return c, c.watches.Add("the cleaning of certificate requests", control.Handlers{
		requests.Informer(): control.Seen(func(r *certificatesv1.CertificateSigningRequest) {
			if end, ok := until(r); ok {
				c.loop.AddAfter(r.Name, end.Sub(c.now()))
			}
		}),
	})
}

// Run works until ctx is cancelled.
func (c *Cleaner) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(1)) }

// until is when a request is to be deleted, false if that can't be told.
func until(r *certificatesv1.CertificateSigningRequest) (end time.Time, ok bool) {
	before := func(t time.Time) {
		if !ok || t.Before(end) {
			end, ok = t, true
		}
	}
	if len(r.Status.Conditions) == 0 && !r.CreationTimestamp.IsZero() {
		before(r.CreationTimestamp.Add(pendingStay))
	}
	for _, c := range r.Status.Conditions {
		if c.Type == certificatesv1.CertificateApproved && len(r.Status.Certificate) > 0 {
			if at := expiry(r.Status.Certificate); !at.IsZero() {
				before(at)
			}
		}
		if c.LastUpdateTime.IsZero() {
			continue
		}
		switch {
		case c.Type == certificatesv1.CertificateDenied, c.Type == certificatesv1.CertificateFailed:
			before(c.LastUpdateTime.Add(settledStay))
		case c.Type != certificatesv1.CertificateApproved:
		case len(r.Status.Certificate) > 0:
			before(c.LastUpdateTime.Add(settledStay))
		default:
			before(c.LastUpdateTime.Add(pendingStay))
		}
	}
	return end, ok
}

// expiry is when a certificate expires, zero if it can't be read.
func expiry(data []byte) time.Time {
	block, _ := pem.Decode(data)
	if block == nil {
		return time.Time{}
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}
	}
	return cert.NotAfter
}

func (c *Cleaner) sync(ctx context.Context, name string) error {
	r, found, err := control.Found(c.requests.Get(name))
	if !found {
		return err
	}
	end, ok := until(r)
	if !ok {
		return nil
	}
	if left := end.Sub(c.now()); left > 0 {
		c.loop.AddAfter(name, left)
		return nil
	}
	err = c.kit.Client.CertificatesV1().CertificateSigningRequests().Delete(ctx, name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(r.UID)),
	})
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("unable to delete CSR %q: %w", name, err)
}

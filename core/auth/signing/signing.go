package signing

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"

	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/follow"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

var requests = schema.GroupResource{Group: "certificates.k8s.io", Resource: "certificatesigningrequests"}

const (
	// longest is how long a certificate is valid where no less is asked for.
	longest = 365 * 24 * time.Hour
	// shortest is what somebody gets who asks for less.
	shortest = 10 * time.Minute
)

// Authority signs; *pki.Authority implements it.
type Authority interface {
	Sign(r pki.Request) ([]byte, error)
}

// Config of a Controller.
type Config struct {
	Authority Authority
	// Writer writes the certificates into the requests' status.
	Writer resource.Writer
	// Leading says whether this server is the one that signs; nil means it is.
	Leading func() bool
	// Now is the clock; nil means time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Controller signs approved requests.
type Controller struct {
	cfg   Config
	queue workqueue.TypedRateLimitingInterface[string]
}

// New returns a controller that does nothing until it runs.
func New(cfg Config) *Controller {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Leading == nil {
		cfg.Leading = func() bool { return true }
	}
	limit := workqueue.NewTypedItemExponentialFailureRateLimiter[string](200*time.Millisecond, 1000*time.Second)
	return &Controller{cfg: cfg, queue: workqueue.NewTypedRateLimitingQueue(limit)}
}

// Run signs what is approved until ctx ends.
func (c *Controller) Run(ctx context.Context, s follow.Store) error {
	var wg sync.WaitGroup
	wg.Go(func() { follow.Bucket(ctx, s, requests.String(), c, nil, c.cfg.Logger) })
	wg.Go(func() {
		for c.next(ctx) {
		}
	})
	<-ctx.Done()
	c.queue.ShutDown()
	wg.Wait()
	return nil
}

var _ follow.Index = (*Controller)(nil)

// Put satisfies follow.Index: it looks whether a request waits for a signature.
func (c *Controller) Put(key store.Key, data []byte, _ uint64) {
	var request certificatesv1.CertificateSigningRequest
	if err := json.Unmarshal(data, &request); err != nil {
		c.cfg.Logger.Warn("a certificate signing request can't be read", "key", string(key), "error", err)
		return
	}
	if waits(&request) {
		c.queue.Add(request.Name)
	}
}

// Remove satisfies follow.Index.
func (c *Controller) Remove(store.Key) {}

// Keys satisfies follow.Index: nothing is kept.
func (c *Controller) Keys() []store.Key { return nil }

// waits reports whether a request is approved and neither signed nor refused.
func waits(r *certificatesv1.CertificateSigningRequest) bool {
	if signers[r.Spec.SignerName] == nil || len(r.Status.Certificate) > 0 {
		return false
	}
	approved := false
	for _, c := range r.Status.Conditions {
		switch c.Type {
		case certificatesv1.CertificateApproved:
			approved = true
		case certificatesv1.CertificateDenied:
			return false
		case certificatesv1.CertificateFailed:
			if c.Status == v1.ConditionTrue {
				return false
			}
		}
	}
	return approved
}

func (c *Controller) next(ctx context.Context) bool {
	name, stop := c.queue.Get()
	if stop {
		return false
	}
	defer c.queue.Done(name)
	err := c.sign(ctx, name)
	switch {
	case err == nil || apierrors.IsNotFound(err):
		c.queue.Forget(name)
	case ctx.Err() != nil:
		return false
	default:
		c.cfg.Logger.Warn("signing a certificate failed; it will be tried again", "certificatesigningrequest", name, "error", err)
		c.queue.AddRateLimited(name)
	}
	return true
}

func (c *Controller) sign(ctx context.Context, name string) error {
	if !c.cfg.Leading() {
		// Whoever comes to lead reads all requests; who loses the lead for a moment looks again.
		c.queue.AddAfter(name, time.Second)
		return nil
	}
	return c.cfg.Writer.ChangeStatus(ctx, requests, "", name, func(object map[string]any) error {
		data, err := json.Marshal(object)
		if err != nil {
			return fmt.Errorf("request %s: %w", name, err)
		}
		var request certificatesv1.CertificateSigningRequest
		if err := json.Unmarshal(data, &request); err != nil {
			return fmt.Errorf("request %s: %w", name, err)
		}
		if !waits(&request) {
			return resource.ErrUnchanged
		}
		status, _ := object["status"].(map[string]any) // it is approved, so it has one
		certificate, refusal, err := c.certificate(&request)
		switch {
		case err != nil:
			return err
		case refusal != nil:
			now := c.cfg.Now().UTC().Format(time.RFC3339)
			conditions, _ := status["conditions"].([]any)
			status["conditions"] = append(conditions, map[string]any{
				"type": string(certificatesv1.CertificateFailed), "status": string(v1.ConditionTrue), "reason": "SignerValidationFailure",
				"message": refusal.Error(), "lastUpdateTime": now, "lastTransitionTime": now,
			})
		default:
			status["certificate"] = base64.StdEncoding.EncodeToString(certificate)
		}
		return nil
	})
}

// certificate signs a request, or says why its signer refuses it.
func (c *Controller) certificate(r *certificatesv1.CertificateSigningRequest) (certificate []byte, refusal, err error) {
	csr, err := parse(r.Spec.Request)
	if err != nil {
		return nil, nil, fmt.Errorf("unable to parse csr %q: %w", r.Name, err)
	}
	if refusal := signers[r.Spec.SignerName](csr, r.Spec.Usages); refusal != nil {
		return nil, refusal, nil
	}
	key, ext := usagesOf(r.Spec.Usages)
	certificate, err = c.cfg.Authority.Sign(pki.Request{CSR: csr, Usage: key, ExtUsage: ext, Lifetime: lifetime(r.Spec.ExpirationSeconds)})
	if err == nil {
		c.cfg.Logger.Info("signed a certificate", "certificatesigningrequest", r.Name,
			"signer", strings.TrimPrefix(r.Spec.SignerName, "kubernetes.io/"), "subject", csr.Subject.String(), "requestor", r.Spec.Username)
	}
	return certificate, nil, err
}

func lifetime(seconds *int32) time.Duration {
	if seconds == nil {
		return longest
	}
	return max(min(time.Duration(*seconds)*time.Second, longest), shortest)
}

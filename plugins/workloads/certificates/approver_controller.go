package certificates

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certificateslisters "k8s.io/client-go/listers/certificates/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// askAgain is when a request is looked at again whose author may not have it approved yet.
const askAgain = 30 * time.Second

// Approver approves client certificates of nodes.
type Approver struct {
	kit      control.Kit
	loop     *control.Loop
	requests certificateslisters.CertificateSigningRequestLister
	watches  control.Watches
	now      func() time.Time
}

// NewApprover returns the controller. The informers of kit must not have been started.
func NewApprover(kit control.Kit) (*Approver, error) {
	requests := kit.Informers.Certificates().V1().CertificateSigningRequests()
	c := &Approver{kit: kit, requests: requests.Lister(), now: time.Now}
	c.loop = control.NewLoop("csrapproving", kit.Log, c.sync)
	return c, c.watches.Add("the approval of certificates", control.Handlers{
		requests.Informer(): control.Seen(func(r *certificatesv1.CertificateSigningRequest) {
			if undecided(r) && r.Spec.SignerName == certificatesv1.KubeAPIServerClientKubeletSignerName {
				c.loop.AddObject(r)
			}
		}),
	})
}

// Run works until ctx is cancelled.
func (c *Approver) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(1)) }

// undecided reports whether nobody has said yet what is to become of a request.
func undecided(r *certificatesv1.CertificateSigningRequest) bool {
	return len(r.Status.Certificate) == 0 && !slices.ContainsFunc(r.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied
	})
}

// right is what the author of a request needs for it to be approved.
type right struct{ subresource, message string }

// rights returns the rights either of which is enough, none where the request is not for the
// client certificate of a node.
func rights(r *certificatesv1.CertificateSigningRequest) ([]right, error) {
	block, _ := pem.Decode(r.Spec.Request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	usages := slices.Sorted(slices.Values(r.Spec.Usages))
	usages = slices.DeleteFunc(slices.Compact(usages), func(u certificatesv1.KeyUsage) bool { return u == certificatesv1.UsageKeyEncipherment })
	if !slices.Equal(usages, []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature}) ||
		!slices.Equal(csr.Subject.Organization, []string{"system:nodes"}) || !strings.HasPrefix(csr.Subject.CommonName, "system:node:") ||
		len(csr.DNSNames)+len(csr.EmailAddresses)+len(csr.IPAddresses)+len(csr.URIs) > 0 {
		return nil, nil
	}
	var out []right
	if r.Spec.Username == csr.Subject.CommonName {
		out = append(out, right{"selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."})
	}
	return append(out, right{"nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."}), nil
}

func (c *Approver) sync(ctx context.Context, name string) error {
	shared, found, err := control.Found(c.requests.Get(name))
	if !found || !undecided(shared) {
		return err
	}
	enough, err := rights(shared)
	if err != nil {
		c.kit.Log.Warn("a certificate request can't be read", "certificatesigningrequest", name, "error", err)
		return nil
	}
	for _, right := range enough {
		ok, err := c.may(ctx, shared, right.subresource)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		r := shared.DeepCopy()
		now := metav1.NewTime(c.now())
		r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateApproved, Status: v1.ConditionTrue, Reason: "AutoApproved", Message: right.message, LastUpdateTime: now,
		})
		_, err = c.kit.Client.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, name, r, metav1.UpdateOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("error updating approval for csr: %w", err)
		}
		return nil
	}
	if len(enough) > 0 {
		c.loop.AddAfter(name, askAgain)
	}
	return nil
}

// may asks the API server whether the author of a request has a right.
func (c *Approver) may(ctx context.Context, r *certificatesv1.CertificateSigningRequest, subresource string) (bool, error) {
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range r.Spec.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	review, err := c.kit.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: r.Spec.Username, UID: r.Spec.UID, Groups: r.Spec.Groups, Extra: extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: "certificates.k8s.io", Version: "*", Resource: "certificatesigningrequests", Subresource: subresource, Verb: "create",
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("ask what %s may: %w", r.Spec.Username, err)
	}
	return review.Status.Allowed, nil
}

package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/sdk/admission"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Bounds of what an admission plugin may answer.
const (
	maxObjectBytes     = 8 << 20
	maxWarnings        = 32
	maxAnnotations     = 32
	maxAnnotationBytes = 8 << 10
)

// Line is the stream on which a plugin is called.
type Line struct {
	// Gone is closed when the plugin can no longer be reached.
	Gone <-chan struct{}
	// Close ends it. Calls that are under way fail.
	Close func()
}

// Admission connects to the admission of the plugin, where it offers any. The value is a
// Mutator, a Validator or both, as the plugin is. Errors that [ErrNoAnswer] is are no opinion
// of the plugin's.
func (c *Client) Admission(ctx context.Context) (admission.Admission, *Line, error) {
	if !c.offers(protocol.PointAdmission) {
		return nil, nil, fmt.Errorf("it offers no point %q", protocol.PointAdmission)
	}
	client := pluginv1.NewAdmissionClient(c.calling(protocol.PointAdmission))
	wire, err := client.Declare(ctx, &pluginv1.DeclareRequest{})
	if err != nil {
		return nil, nil, unwire(err)
	}
	d, err := admission.DeclarationFromWire(wire)
	if err == nil {
		err = d.Complete()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("declaration: %w", err)
	}
	line, err := openReviews(context.WithoutCancel(ctx), client)
	if err != nil {
		return nil, nil, unwire(err)
	}
	a := &remoteAdmission{Client: c, declaration: d, calls: line}
	end := &Line{Gone: line.Done(), Close: line.Close}
	mutates := slices.Contains(wire.GetSteps(), pluginv1.ReviewStep_REVIEW_STEP_MUTATE)
	validates := slices.Contains(wire.GetSteps(), pluginv1.ReviewStep_REVIEW_STEP_VALIDATE)
	switch {
	case mutates && validates:
		return struct {
			*remoteAdmission
			remoteMutator
			remoteValidator
		}{a, remoteMutator{a}, remoteValidator{a}}, end, nil
	case mutates:
		return struct {
			*remoteAdmission
			remoteMutator
		}{a, remoteMutator{a}}, end, nil
	case validates:
		return struct {
			*remoteAdmission
			remoteValidator
		}{a, remoteValidator{a}}, end, nil
	}
	line.Close()
	return nil, nil, fmt.Errorf("declaration: it neither mutates nor validates")
}

type reviewCalls = readingCalls[pluginv1.Review, pluginv1.ReviewResult]

type reviewItem = callItem[pluginv1.Review]

func openReviews(ctx context.Context, client pluginv1.AdmissionClient) (*reviewCalls, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := client.Reviews(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	return openReading(ctx, readingStream[pluginv1.Review, pluginv1.ReviewResult]{
		send: func(reviews []*pluginv1.Review, reads []*pluginv1.ReadResult) error {
			return stream.Send(&pluginv1.ReviewsRequest{Reviews: reviews, Reads: reads})
		},
		recv: func() ([]*pluginv1.ReviewResult, []*pluginv1.Read, error) {
			m, err := stream.Recv()
			return m.GetResults(), m.GetReads(), err
		},
		id:     (*pluginv1.ReviewResult).GetId,
		size:   func(r *pluginv1.Review) int { return requestSize(r.GetRequest()) },
		ctx:    stream.Context(),
		cancel: cancel,
	}), nil
}

type remoteAdmission struct {
	*Client
	declaration admission.Declaration
	calls       *reviewCalls
}

// Declare implements admission.Admission.
func (a *remoteAdmission) Declare() admission.Declaration { return a.declaration }

func (a *remoteAdmission) review(ctx context.Context, step pluginv1.ReviewStep, r *admission.Request) (*pluginv1.ReviewResult, error) {
	wire, err := requestToWire(r.Request, false)
	if err != nil {
		return nil, noAnswer("%w", err)
	}
	options, err := protocol.EncodeTree(r.Options)
	if err != nil {
		return nil, noAnswer("%w", err)
	}
	res, err := ask(ctx, a.calls, r.Reader, func(id uint64, ms int64) reviewItem {
		return reviewItem{Work: &pluginv1.Review{
			Id: id, Step: step, TimeoutMs: ms, Request: wire, Options: options, Round: int32(r.Round), //nolint:gosec // 0 or 1
			AcceptsChanges: slices.Contains(a.powers[protocol.PointAdmission], protocol.CapabilityChanges),
		}}
	})
	if err != nil {
		return nil, err
	}
	if len(res.GetWarnings()) > maxWarnings {
		return nil, noAnswer("it gave %d warnings, more than %d", len(res.GetWarnings()), maxWarnings)
	}
	if err := checkAnnotations(res.GetAnnotations()); err != nil {
		return nil, err
	}
	r.Warnings = append(r.Warnings, res.GetWarnings()...)
	for k, v := range res.GetAnnotations() {
		r.Annotate(k, v)
	}
	if len(res.GetStatus()) > 0 {
		var s metav1.Status
		if err := json.Unmarshal(res.GetStatus(), &s); err != nil {
			return nil, noAnswer("it refused the request with something that is no status: %w", err)
		}
		return nil, &apierrors.StatusError{ErrStatus: s}
	}
	if res.GetError() != "" {
		return nil, fmt.Errorf("%s", res.GetError())
	}
	return res, nil
}

func checkAnnotations(all map[string]string) error {
	if len(all) > maxAnnotations {
		return noAnswer("it gave %d annotations, more than %d", len(all), maxAnnotations)
	}
	for k, v := range all {
		if len(k)+len(v) > maxAnnotationBytes {
			return noAnswer("it gave an annotation of %d bytes, more than %d", len(k)+len(v), maxAnnotationBytes)
		}
	}
	return nil
}

type remoteMutator struct{ a *remoteAdmission }

// Mutate implements admission.Mutator.
func (m remoteMutator) Mutate(ctx context.Context, r *admission.Request) (bool, error) {
	res, err := m.a.review(ctx, pluginv1.ReviewStep_REVIEW_STEP_MUTATE, r)
	if err != nil {
		return false, err
	}
	if n := len(res.GetObject()) + protocol.ChangesSize(res.GetChanges()); n > maxObjectBytes {
		return false, noAnswer("it made an object of %d bytes, more than %d", n, maxObjectBytes)
	}
	tree, err := changedObject(r.Object, res)
	if err != nil {
		return false, noAnswer("it made something that is no object: %w", err)
	}
	if tree == nil {
		return false, nil
	}
	r.Object = tree
	return true, nil
}

type remoteValidator struct{ a *remoteAdmission }

// Validate implements admission.Validator.
func (v remoteValidator) Validate(ctx context.Context, r *admission.Request) error {
	_, err := v.a.review(ctx, pluginv1.ReviewStep_REVIEW_STEP_VALIDATE, r)
	return err
}

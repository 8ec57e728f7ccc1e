package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/controller-runtime/pkg/webhook/conversion"
)

// What a manager is told by its environment.
const (
	envName    = "WIDGETS_MANAGER" // its name; the test program is a manager when it is set
	envCerts   = "WIDGETS_CERTS"   // the folder of tls.crt and tls.key
	envWebhook = "WIDGETS_WEBHOOK" // the port of its webhooks
	envMetrics = "WIDGETS_METRICS" // the address of its metrics
	envHealth  = "WIDGETS_HEALTH"  // the address of its probes

	finalizer  = "works.example.com/widgets"
	fieldOwner = client.FieldOwner("widgets")
	leaseName  = "widgets.works.example.com"
	byColor    = "spec.color"
)

// runManager is the program of an operator, as its author would write it.
func runManager() error {
	ctrl.SetLogger(zap.New())
	s := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(s); err != nil {
		return err
	}
	addTypes(s)
	port, err := strconv.Atoi(os.Getenv(envWebhook))
	if err != nil {
		return err
	}
	lease, renew, retry := 3*time.Second, 2*time.Second, 200*time.Millisecond
	mgr, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Scheme:                        s,
		LeaderElection:                true,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       "default",
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &lease,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &retry,
		Metrics:                       metricsserver.Options{BindAddress: os.Getenv(envMetrics)},
		HealthProbeBindAddress:        os.Getenv(envHealth),
		WebhookServer:                 webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: port, CertDir: os.Getenv(envCerts)}),
	})
	if err != nil {
		return err
	}
	ctx := ctrl.SetupSignalHandler()
	color := func(o client.Object) []string { return []string{o.(*Widget).Spec.Color} }
	r := &reconciler{name: os.Getenv(envName), Client: mgr.GetClient(), events: mgr.GetEventRecorder("widgets")}
	return errors.Join(
		mgr.GetFieldIndexer().IndexField(ctx, &Widget{}, byColor, color),
		mgr.AddReadyzCheck("webhooks", mgr.GetWebhookServer().StartedChecker()),
		mgr.AddHealthzCheck("ping", healthz.Ping),
		ctrl.NewControllerManagedBy(mgr).For(&Widget{}).Owns(&corev1.ConfigMap{}, builder.OnlyMetadata).Complete(r),
		ctrl.NewWebhookManagedBy(mgr, &Widget{}).WithDefaulter(rules{}).WithValidator(rules{}).
			WithConverter(conversion.NewHubSpokeConverter(&Widget{}, conversion.NewSpokeConverter(&OldWidget{}, toOld, fromOld))).Complete(),
		mgr.Start(ctx))
}

// rules are the webhooks of widgets.
type rules struct{}

func (rules) Default(_ context.Context, w *Widget) error {
	if w.Spec.Color == "" {
		w.Spec.Color = "green"
	}
	return nil
}

func (rules) ValidateCreate(_ context.Context, w *Widget) (admission.Warnings, error) {
	if w.Spec.Size > 100 {
		return nil, fmt.Errorf("spec.size: %d is more than 100", w.Spec.Size)
	}
	if w.Spec.Size > 50 {
		return admission.Warnings{"large widgets are slow"}, nil
	}
	return nil, nil
}

func (rules) ValidateUpdate(_ context.Context, was, w *Widget) (admission.Warnings, error) {
	if w.Spec.Size < was.Spec.Size {
		return nil, fmt.Errorf("spec.size: widgets do not shrink from %d to %d", was.Spec.Size, w.Spec.Size)
	}
	return nil, nil
}

func (rules) ValidateDelete(_ context.Context, w *Widget) (admission.Warnings, error) {
	if w.Annotations["works.example.com/protected"] != "" {
		return nil, errors.New("the widget is protected")
	}
	return nil, nil
}

// reconciler gives every widget a ConfigMap.
type reconciler struct {
	client.Client
	name   string
	events events.EventRecorder
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	w := &Widget{}
	if err := r.Get(ctx, req.NamespacedName, w); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if w.DeletionTimestamp != nil {
		return ctrl.Result{}, r.finalize(ctx, w)
	}
	if before := w.DeepCopyObject().(*Widget); controllerutil.AddFinalizer(w, finalizer) {
		return ctrl.Result{}, r.Patch(ctx, w, client.MergeFrom(before), fieldOwner)
	}
	owner := metav1ac.OwnerReference().WithAPIVersion(v1.String()).WithKind("Widget").
		WithName(w.Name).WithUID(w.UID).WithController(true).WithBlockOwnerDeletion(true)
	config := corev1ac.ConfigMap(w.Name, w.Namespace).WithOwnerReferences(owner).
		WithData(map[string]string{"size": strconv.Itoa(w.Spec.Size), "color": w.Spec.Color})
	if err := r.Apply(ctx, config, fieldOwner, client.ForceOwnership); err != nil {
		return ctrl.Result{}, fmt.Errorf("apply the ConfigMap: %w", err)
	}
	var peers WidgetList
	if err := r.List(ctx, &peers, client.InNamespace(w.Namespace), client.MatchingFields{byColor: w.Spec.Color}); err != nil {
		return ctrl.Result{}, err
	}
	before := w.DeepCopyObject().(*Widget)
	w.Status.By, w.Status.Peers = r.name, len(peers.Items)
	if meta.SetStatusCondition(&w.Status.Conditions, metav1.Condition{
		Type: "Ready", Status: metav1.ConditionTrue, Reason: "Applied", Message: "the ConfigMap is there", ObservedGeneration: w.Generation,
	}) {
		r.events.Eventf(w, nil, corev1.EventTypeNormal, "Applied", "Apply", "the ConfigMap has size %d", w.Spec.Size)
	}
	return ctrl.Result{}, r.Status().Patch(ctx, w, client.MergeFrom(before), fieldOwner)
}

// finalize leaves a note of a widget that goes.
func (r *reconciler) finalize(ctx context.Context, w *Widget) error {
	note := corev1ac.ConfigMap("gone-"+w.Name, w.Namespace).WithData(map[string]string{"by": r.name})
	if err := r.Apply(ctx, note, fieldOwner, client.ForceOwnership); err != nil {
		return err
	}
	before := w.DeepCopyObject().(*Widget)
	controllerutil.RemoveFinalizer(w, finalizer)
	return client.IgnoreNotFound(r.Patch(ctx, w, client.MergeFrom(before), fieldOwner))
}

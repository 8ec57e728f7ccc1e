package connect

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// logs relays a container's log. A pod that has no node yet has an empty log.
func (h *Handler) logs(w http.ResponseWriter, r *http.Request, c Request) error {
	if r.Method != http.MethodGet {
		return apierrors.NewMethodNotSupported(schema.GroupResource{Resource: "pods/log"}, strings.ToLower(r.Method))
	}
	query, err := logQuery(r.URL.Query(), c.Name)
	if err != nil {
		return err
	}
	var pod corev1.Pod
	if err := h.get(r.Context(), "pods", c.Namespace, c.Name, &pod); err != nil {
		return err
	}
	name, err := container(&pod, r.URL.Query().Get("container"))
	if err != nil {
		return err
	}
	if pod.Spec.NodeName == "" {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusOK)
		return nil
	}
	a, err := h.agentOf(r.Context(), pod.Spec.NodeName)
	if err != nil {
		return err
	}
	h.toAgent(w, r, a, a.url("/containerLogs/"+c.Namespace+"/"+c.Name+"/"+name, query), agentError("pods/log", c.Name)) //nolint:bodyclose // agentError closes it
	return nil
}

// logQuery checks the options of a log request and returns those for the agent.
func logQuery(in url.Values, pod string) (url.Values, error) {
	out := url.Values{}
	var errs field.ErrorList
	for _, name := range []string{"follow", "previous", "timestamps"} {
		if flag(in, name) {
			out.Set(name, "true")
		}
	}
	for _, n := range []struct {
		name, message string
		least         int64
	}{
		{"tailLines", "must be greater than or equal to 0", 0},
		{"limitBytes", "must be greater than 0", 1},
		{"sinceSeconds", "must be greater than 0", 1},
	} {
		text := in.Get(n.name)
		if text == "" {
			continue
		}
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("%s: %q is not a number", n.name, text))
		}
		if v < n.least {
			errs = append(errs, field.Invalid(field.NewPath(n.name), v, n.message))
		}
		out.Set(n.name, text)
	}
	if text := in.Get("sinceTime"); text != "" {
		if out.Has("sinceSeconds") {
			errs = append(errs, field.Forbidden(field.NewPath(""), "at most one of `sinceTime` or `sinceSeconds` may be specified"))
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("sinceTime: %q is not a time as in RFC 3339", text))
		}
		out.Set("sinceTime", t.Format(time.RFC3339))
	}
	stream := in.Get("stream")
	switch stream {
	case "", "All":
	case "Stdout", "Stderr":
		if out.Has("tailLines") {
			errs = append(errs, field.Forbidden(field.NewPath(""), "`tailLines` and specific `stream` are mutually exclusive for now"))
		}
		out.Set("stream", stream)
	default:
		errs = append(errs, field.NotSupported(field.NewPath("stream"), stream, []string{"All", "Stderr", "Stdout"}))
	}
	if len(errs) > 0 {
		return nil, apierrors.NewInvalid(schema.GroupKind{Kind: "PodLogOptions"}, pod, errs)
	}
	return out, nil
}

// flag reads a boolean option as upstream converts it: a name without a value is true.
func flag(in url.Values, name string) bool {
	values, ok := in[name]
	if !ok {
		return false
	}
	switch strings.ToLower(values[0]) {
	case "false", "0":
		return false
	}
	return true
}

// streamFlags maps the options of exec and attach to the agent's names for them.
var streamFlags = []struct{ option, agent string }{{"stdin", "input"}, {"stdout", "output"}, {"stderr", "error"}, {"tty", "tty"}}

// stream relays exec and attach.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, c Request) error {
	if err := upgradeable(r, c); err != nil {
		return err
	}
	in, query := r.URL.Query(), url.Values{}
	for _, f := range streamFlags {
		if flag(in, f.option) {
			query.Set(f.agent, "1")
		}
	}
	if c.Subresource == "exec" {
		query["command"] = in["command"]
	}
	var pod corev1.Pod
	if err := h.get(r.Context(), "pods", c.Namespace, c.Name, &pod); err != nil {
		return err
	}
	name, err := container(&pod, in.Get("container"))
	if err != nil {
		return err
	}
	return h.toPodsAgent(w, r, &pod, c, "/"+c.Subresource+"/"+c.Namespace+"/"+c.Name+"/"+name, query)
}

// portForward relays connections to ports of a pod.
func (h *Handler) portForward(w http.ResponseWriter, r *http.Request, c Request) error {
	if err := upgradeable(r, c); err != nil {
		return err
	}
	query := url.Values{}
	var ports []string
	for _, value := range r.URL.Query()["ports"] {
		for p := range strings.SplitSeq(value, ",") {
			if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
				return apierrors.NewBadRequest(fmt.Sprintf("ports: %q is not a port number", p))
			}
			ports = append(ports, p)
		}
	}
	if len(ports) > 0 {
		query.Set("port", strings.Join(ports, ","))
	}
	var pod corev1.Pod
	if err := h.get(r.Context(), "pods", c.Namespace, c.Name, &pod); err != nil {
		return err
	}
	return h.toPodsAgent(w, r, &pod, c, "/portForward/"+c.Namespace+"/"+c.Name, query)
}

func (h *Handler) toPodsAgent(w http.ResponseWriter, r *http.Request, pod *corev1.Pod, c Request, path string, query url.Values) error {
	if pod.Spec.NodeName == "" {
		return apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", c.Name))
	}
	a, err := h.agentOf(r.Context(), pod.Spec.NodeName)
	if err != nil {
		return err
	}
	target := a.url(path, query)
	switch {
	case c.Subresource == "portforward" && tunnelled(r):
		return h.tunnel(w, r, a, target, c)
	case c.Subresource != "portforward" && translatable(r):
		return h.translate(w, r, a, target)
	}
	h.toAgent(w, r, a, target, nil)
	return nil
}

// upgradeable refuses what can't become a stream in both directions.
func upgradeable(r *http.Request, c Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return apierrors.NewMethodNotSupported(schema.GroupResource{Resource: c.Resource + "/" + c.Subresource}, strings.ToLower(r.Method))
	}
	for _, v := range r.Header.Values("Connection") {
		for token := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return nil
			}
		}
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusBadRequest, Reason: metav1.StatusReasonBadRequest, Message: "Upgrade request required",
	}}
}

// container returns the container that is meant: the one asked for, or the only one.
func container(pod *corev1.Pod, asked string) (string, error) {
	var all []string
	for i := range pod.Spec.InitContainers {
		all = append(all, pod.Spec.InitContainers[i].Name)
	}
	for i := range pod.Spec.Containers {
		all = append(all, pod.Spec.Containers[i].Name)
	}
	for i := range pod.Spec.EphemeralContainers {
		all = append(all, pod.Spec.EphemeralContainers[i].Name)
	}
	if asked != "" {
		for _, name := range all {
			if name == asked {
				return asked, nil
			}
		}
		return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", asked, pod.Name))
	}
	switch len(pod.Spec.Containers) {
	case 0:
		return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s", pod.Name))
	case 1:
		return pod.Spec.Containers[0].Name, nil
	}
	return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s, choose one of: %s", pod.Name, all))
}

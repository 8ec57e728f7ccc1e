package objects

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// filter is what of a store a request is about.
type filter struct {
	namespace string // empty for all
	labels    labels.Selector
	fields    fields.Selector
}

func (f filter) matches(it *item) bool {
	o := it.object
	if f.namespace != "" && o.GetNamespace() != f.namespace {
		return false
	}
	return f.labels.Matches(labels.Set(o.GetLabels())) &&
		f.fields.Matches(fields.Set{"metadata.name": o.GetName(), "metadata.namespace": o.GetNamespace()})
}

func parseFilter(namespace string, q url.Values) (filter, error) {
	f := filter{namespace: namespace}
	var err error
	if f.labels, err = labels.Parse(q.Get("labelSelector")); err != nil {
		return f, apierrors.NewBadRequest(fmt.Sprintf("unable to parse requirement: %v", err))
	}
	if f.fields, err = fields.ParseSelector(q.Get("fieldSelector")); err != nil {
		return f, apierrors.NewBadRequest(err.Error())
	}
	for _, r := range f.fields.Requirements() {
		if r.Field != "metadata.name" && r.Field != "metadata.namespace" {
			return f, apierrors.NewBadRequest(fmt.Sprintf("field label not supported: %s", r.Field))
		}
	}
	return f, nil
}

// watchOptions are the parameters of a watch.
type watchOptions struct {
	revision  uint64 // 0 for anything
	initial   bool   // begins with all objects that there are
	bookmark  bool   // says when those are all
	bookmarks bool
	timeout   time.Duration // 0 for none
}

func parseWatch(q url.Values) (watchOptions, error) {
	var o watchOptions
	if rv := q.Get("resourceVersion"); rv != "" {
		n, err := strconv.ParseUint(rv, 10, 64)
		if err != nil {
			return o, apierrors.NewBadRequest(fmt.Sprintf("invalid resource version %q: %v", rv, err))
		}
		o.revision = n
	}
	o.bookmarks, _ = strconv.ParseBool(q.Get("allowWatchBookmarks"))
	switch initial := q.Get("sendInitialEvents"); {
	case initial != "":
		o.initial, _ = strconv.ParseBool(initial)
		o.bookmark = o.initial && o.bookmarks
	default:
		o.initial = o.revision == 0
	}
	if s := q.Get("timeoutSeconds"); s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			return o, apierrors.NewBadRequest(fmt.Sprintf("invalid timeoutSeconds %q", s))
		}
		o.timeout = time.Duration(n) * time.Second
	}
	return o, nil
}

// form is how a client wants objects to look.
type form int

const (
	whole form = iota
	table
	partial // metadata only
)

// negotiate takes the first form of an Accept header that is served here.
func negotiate(accept string) form {
	for clause := range strings.SplitSeq(accept, ",") {
		parts := strings.Split(clause, ";")
		params := map[string]string{}
		for _, p := range parts[1:] {
			k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
			params[k] = v
		}
		if t := strings.TrimSpace(parts[0]); t != "application/json" && t != "*/*" && t != "application/*" {
			continue
		}
		meta := params["g"] == "meta.k8s.io" && params["v"] == "v1"
		switch as := params["as"]; {
		case as == "":
			return whole
		case as == "Table" && meta:
			return table
		case (as == "PartialObjectMetadata" || as == "PartialObjectMetadataList") && meta:
			return partial
		}
	}
	return whole
}

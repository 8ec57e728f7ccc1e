package aggregation

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/kube-openapi/pkg/aggregator"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// OpenAPIV2 returns the documents of version 2 of the servers that are well, each limited
// to the paths of its group versions. They are read when they are asked for: next to no
// client does any more.
func (a *Aggregator) OpenAPIV2(ctx context.Context) []*spec.Swagger {
	routes := a.routes.Load()
	if routes == nil {
		return nil
	}
	var remotes []*remote
	for _, r := range *routes {
		if r.available.Load() && r.broken == nil {
			remotes = append(remotes, r)
		}
	}
	slices.SortFunc(remotes, func(x, y *remote) int { return strings.Compare(x.name, y.name) })
	var out []*spec.Swagger
	for _, r := range remotes {
		body, err := r.fetch(ctx, "/openapi/v2")
		doc := &spec.Swagger{}
		if err == nil {
			err = json.Unmarshal(body, doc)
		}
		if err != nil {
			a.log.Debug("no OpenAPI of an extension API server", "apiservice", r.name, "error", err)
			continue
		}
		path := strings.TrimPrefix(r.documentPath(), "/openapi/v3") + "/"
		out = append(out, aggregator.FilterSpecByPathsWithoutSideEffects(doc, []string{path}))
	}
	return out
}

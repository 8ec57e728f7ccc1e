package bootstrap

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Signer signs cluster-info. Tokens are not watched before there is something to sign.
type Signer struct {
	kit     control.Kit
	loop    *control.Loop
	factory informers.SharedInformerFactory
	info    corelisters.ConfigMapLister
	watches control.Watches
	tokens  *control.Lazy
	now     func() time.Time
}

const infoKey = metav1.NamespacePublic + "/" + clusterInfo

// NewSigner returns the controller.
func NewSigner(kit control.Kit) (*Signer, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(kit.Client, 0, informers.WithNamespace(metav1.NamespacePublic),
		informers.WithTransform(control.Trim), informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", clusterInfo).String()
		}))
	info := factory.Core().V1().ConfigMaps()
	c := &Signer{kit: kit, factory: factory, info: info.Lister(), now: time.Now}
	c.loop = control.NewLoop("bootstrapsigner", kit.Log, c.sync)
	changed := control.Touched(func(any) { c.loop.Add(infoKey) })
	tokens := control.Kit{Client: kit.Client, Informers: secretsOf(kit), Events: kit.Events, Log: kit.Log}
	c.tokens = control.NewLazy(tokens, func() cache.SharedIndexInformer { return tokens.Informers.Core().V1().Secrets().Informer() }, nil, changed)
	return c, c.watches.Add("the signing of cluster-info", control.Handlers{info.Informer(): changed})
}

// Run works until ctx is cancelled.
func (c *Signer) Run(ctx context.Context) {
	c.factory.StartWithContext(ctx)
	defer c.factory.Shutdown()
	c.watches.Run(ctx, c.loop.Workers(1))
}

func (c *Signer) sync(ctx context.Context, _ string) error {
	info, found, err := control.Found(c.info.ConfigMaps(metav1.NamespacePublic).Get(clusterInfo))
	if !found {
		return err
	}
	text, ok := info.Data["kubeconfig"]
	if !ok {
		return nil
	}
	tokens, err := c.tokens.Indexer(ctx)
	if err != nil {
		return err
	}
	data, err := c.signed(info.Data, text, tokens.List())
	if err != nil || apiequality.Semantic.DeepEqual(info.Data, data) {
		return err
	}
	next := info.DeepCopy()
	next.Data = data
	_, err = c.kit.Client.CoreV1().ConfigMaps(next.Namespace).Update(ctx, next, metav1.UpdateOptions{})
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("sign %s: %w", infoKey, err)
}

// signed returns data with the signatures of the tokens there are, and no others.
func (c *Signer) signed(data map[string]string, text string, tokens []any) (map[string]string, error) {
	out := maps.Clone(data)
	maps.DeleteFunc(out, func(key, _ string) bool { return strings.HasPrefix(key, signaturePrefix) })
	now := c.now()
	for _, obj := range tokens {
		s, ok := obj.(*v1.Secret)
		if !ok || !isToken(s) {
			continue
		}
		id, key, ok := signingKey(s, now)
		if !ok {
			continue
		}
		signature, err := sign(text, id, key)
		if err != nil {
			return nil, err
		}
		out[signaturePrefix+id] = signature
		if at, ends := expiration(s); ends {
			c.loop.AddAfter(infoKey, at.Sub(now))
		}
	}
	return out, nil
}

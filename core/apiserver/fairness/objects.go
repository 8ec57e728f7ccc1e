package fairness

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"

	"github.com/pintle-dev/pintle/core/follow"
	"github.com/pintle-dev/pintle/core/store"
)

// The buckets of the store that hold the objects.
const (
	schemaBucket = "flowschemas.flowcontrol.apiserver.k8s.io"
	levelBucket  = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io"
)

// objects are those that the controller goes by, by name.
type objects struct {
	mu      sync.Mutex
	schemas map[string]*flowcontrolv1.FlowSchema
	levels  map[string]*flowcontrolv1.PriorityLevelConfiguration
	changed chan struct{} // has room for one signal
}

func (o *objects) init() {
	o.schemas = map[string]*flowcontrolv1.FlowSchema{}
	o.levels = map[string]*flowcontrolv1.PriorityLevelConfiguration{}
	o.changed = make(chan struct{}, 1)
}

// Run follows the objects in the store until ctx ends. It is called once.
func (c *Controller) Run(ctx context.Context, s follow.Store) error {
	var wg sync.WaitGroup
	wg.Go(func() {
		follow.Bucket(ctx, s, schemaBucket, index[flowcontrolv1.FlowSchema]{c, c.objects.schemas, schemaBucket}, c.settle, c.cfg.Logger)
	})
	wg.Go(func() {
		follow.Bucket(ctx, s, levelBucket, index[flowcontrolv1.PriorityLevelConfiguration]{c, c.objects.levels, levelBucket}, c.settle, c.cfg.Logger)
	})
	wg.Wait()
	return nil
}

// settle puts what has changed into effect.
func (c *Controller) settle(uint64) {
	c.rebuild()
	select {
	case c.objects.changed <- struct{}{}:
	default:
	}
}

// index keeps one kind.
type index[T any] struct {
	c      *Controller
	values map[string]*T
	bucket string
}

// Put implements follow.Index. An object that can't be read is as good as none.
func (i index[T]) Put(key store.Key, data []byte, _ uint64) {
	v := new(T)
	if err := json.Unmarshal(data, v); err != nil {
		i.c.cfg.Logger.Error("an object of flow control can't be read and is not heeded", "key", string(key), "error", err)
		i.Remove(key)
		return
	}
	i.c.objects.mu.Lock()
	defer i.c.objects.mu.Unlock()
	i.values[nameOf(key)] = v
}

// Remove implements follow.Index.
func (i index[T]) Remove(key store.Key) {
	i.c.objects.mu.Lock()
	defer i.c.objects.mu.Unlock()
	delete(i.values, nameOf(key))
}

// Keys implements follow.Index.
func (i index[T]) Keys() []store.Key {
	i.c.objects.mu.Lock()
	defer i.c.objects.mu.Unlock()
	keys := make([]store.Key, 0, len(i.values))
	for name := range i.values {
		keys = append(keys, store.Key(i.bucket+"//"+name))
	}
	return keys
}

func nameOf(key store.Key) string {
	return string(key[strings.LastIndexByte(string(key), '/')+1:])
}

// rebuild makes levels and schemas of the objects. Those that every cluster must have are
// there even if the store lacks them.
func (c *Controller) rebuild() {
	c.objects.mu.Lock()
	defer c.objects.mu.Unlock()
	levels, schemas := maps.Clone(c.objects.levels), maps.Clone(c.objects.schemas)
	for _, l := range bootstrap.MandatoryPriorityLevelConfigurations {
		if levels[l.Name] == nil {
			levels[l.Name] = l
		}
	}
	for _, s := range bootstrap.MandatoryFlowSchemas {
		if schemas[s.Name] == nil {
			schemas[s.Name] = s
		}
	}
	c.setLevels(levels)
	c.setSchemas(schemas)
}

func (c *Controller) setLevels(configs map[string]*flowcontrolv1.PriorityLevelConfiguration) {
	shares := 0
	for _, l := range configs {
		own, _, _ := sharesOf(&l.Spec)
		shares += int(own)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, l := range c.levels {
		if configs[name] == nil {
			l.retire()
			c.bury(l)
		}
	}
	for name, config := range configs {
		l := c.levels[name]
		if l == nil {
			l = &level{name: name}
			c.levels[name] = l
		}
		l.configure(config, shares, c.cfg.Seats)
		c.metrics.nominal.WithLabelValues(name).Set(float64(l.nominal))
	}
	c.reserved, c.pool = 0, 0
	for _, l := range c.levels {
		c.reserved += l.reserved()
		if !l.exempt && !l.gone {
			c.pool += l.nominal
		}
	}
	c.pool = max(c.pool, c.cfg.Seats)
	c.dispatch()
}

func (c *Controller) setSchemas(configs map[string]*flowcontrolv1.FlowSchema) {
	list := make([]*schema, 0, len(configs))
	for _, f := range configs {
		l := c.serving(f.Spec.PriorityLevelConfiguration.Name)
		if l == nil {
			continue // as its condition Dangling says
		}
		s := &schema{name: f.Name, uid: string(f.UID), precedence: f.Spec.MatchingPrecedence, rules: f.Spec.Rules, level: l,
			metrics: c.metrics.flow(l.name, f.Name)}
		if m := f.Spec.DistinguisherMethod; m != nil {
			s.distinguish = m.Type
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *schema) int {
		// Whatever else there is, what every request matches comes last.
		if last := flowcontrolv1.FlowSchemaNameCatchAll; (a.name == last) != (b.name == last) {
			if a.name == last {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.precedence, b.precedence), cmp.Compare(a.name, b.name))
	})
	old := c.schemas.Swap(&list)
	if old == nil {
		return
	}
	for _, s := range *old {
		if !slices.ContainsFunc(list, func(o *schema) bool { return o.name == s.name && o.level.name == s.level.name }) {
			c.metrics.forget(s.level.name, s.name)
		}
	}
}

// serving is a level that there is and that has not been deleted, or nil.
func (c *Controller) serving(name string) *level {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.levels[name]; l != nil && !l.gone {
		return l
	}
	return nil
}

// dangling reports which schemas name a level that is not there.
func (c *Controller) dangling() map[string]string {
	c.objects.mu.Lock()
	defer c.objects.mu.Unlock()
	out := map[string]string{}
	for name, f := range c.objects.schemas {
		level := f.Spec.PriorityLevelConfiguration.Name
		out[name] = ""
		if c.objects.levels[level] == nil {
			out[name] = fmt.Sprintf("This FlowSchema references the PriorityLevelConfiguration object named %q but there is no such object", level)
		}
	}
	return out
}

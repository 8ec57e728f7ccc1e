package podautoscaler

import (
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// calm is for how long the highest of the recommendations counts before the number goes down,
// where nothing else is said.
const calm = 5 * time.Minute

// moment is a number at a time: what was recommended, or by how much the number was changed.
type moment struct {
	at time.Time
	n  int32
}

// past is what is remembered of one autoscaler.
type past struct {
	recommended, ups, downs []moment
}

// forget drops what is older than any window there can be (an hour for recommendations, half
// an hour for policies).
func (p *past) forget(now time.Time) {
	drop := func(list []moment, age time.Duration) []moment {
		kept := list[:0]
		for _, m := range list {
			if now.Sub(m.at) <= age {
				kept = append(kept, m)
			}
		}
		return kept
	}
	p.recommended, p.ups, p.downs = drop(p.recommended, time.Hour), drop(p.ups, 30*time.Minute), drop(p.downs, 30*time.Minute)
}

// scaled remembers a change.
func (p *past) scaled(from, to int32, now time.Time) {
	if to > from {
		p.ups = append(p.ups, moment{now, to - from})
	} else {
		p.downs = append(p.downs, moment{now, from - to})
	}
}

// verdict is a number with what is said of it.
type verdict struct {
	n               int32
	reason, message string
}

// stabilize holds a recommendation against those before it, and remembers it.
func (p *past) stabilize(b *autoscalingv2.HorizontalPodAutoscalerBehavior, current, wanted int32, now time.Time) verdict {
	up, down := window(b, true), window(b, false)
	lowest, highest := wanted, wanted
	for _, m := range p.recommended {
		if age := now.Sub(m.at); age < up {
			lowest = min(lowest, m.n)
		}
		if age := now.Sub(m.at); age < down {
			highest = max(highest, m.n)
		}
	}
	p.recommended = append(p.recommended, moment{now, wanted})
	n := min(max(current, lowest), highest)
	if b == nil {
		n = highest
	}
	switch {
	case n == wanted:
		return verdict{n, "ReadyForNewScale", "recommended size matches current size"}
	case b != nil && wanted >= current:
		return verdict{n, "ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest recent recommendation"}
	}
	return verdict{n, "ScaleDownStabilized", "recent recommendations were higher than current one, applying the highest recent recommendation"}
}

func window(b *autoscalingv2.HorizontalPodAutoscalerBehavior, up bool) time.Duration {
	rules := rulesOf(b, up)
	if rules != nil && rules.StabilizationWindowSeconds != nil {
		return time.Duration(*rules.StabilizationWindowSeconds) * time.Second
	}
	if up {
		return 0
	}
	return calm
}

func rulesOf(b *autoscalingv2.HorizontalPodAutoscalerBehavior, up bool) *autoscalingv2.HPAScalingRules {
	switch {
	case b == nil:
		return nil
	case up:
		return b.ScaleUp
	}
	return b.ScaleDown
}

// limit keeps a number within the bounds of the autoscaler and the pace at which it may change.
func (p *past) limit(b *autoscalingv2.HorizontalPodAutoscalerBehavior, current, wanted, least, most int32, now time.Time) verdict {
	within := verdict{wanted, "DesiredWithinRange", "the desired count is within the acceptable range"}
	top, floor := p.topSpeed(b, current, now), p.lowest(b, current, now)
	switch {
	case wanted > current || b == nil && wanted > min(most, top):
		if most > top && wanted > top {
			return verdict{top, "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"}
		}
		if wanted > most {
			return verdict{most, "TooManyReplicas", "the desired replica count is more than the maximum replica count"}
		}
	case wanted < current && least < floor && wanted < floor:
		return verdict{floor, "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"}
	}
	if wanted < least {
		return verdict{least, "TooFewReplicas", "the desired replica count is less than the minimum replica count"}
	}
	return within
}

// topSpeed is the highest number that may be reached now.
func (p *past) topSpeed(b *autoscalingv2.HorizontalPodAutoscalerBehavior, current int32, now time.Time) int32 {
	if b == nil || b.ScaleUp == nil {
		return max(2*current, 4)
	}
	n, ok := p.byPolicies(b.ScaleUp, current, now, func(start int32, policy autoscalingv2.HPAScalingPolicy) int32 {
		if policy.Type == autoscalingv2.PodsScalingPolicy {
			return start + policy.Value
		}
		return ceil(float64(start) * (1 + float64(policy.Value)/100))
	}, true)
	if !ok {
		return current
	}
	return max(n, current)
}

// lowest is the lowest number that may be reached now.
func (p *past) lowest(b *autoscalingv2.HorizontalPodAutoscalerBehavior, current int32, now time.Time) int32 {
	if b == nil || b.ScaleDown == nil {
		return 0
	}
	n, ok := p.byPolicies(b.ScaleDown, current, now, func(start int32, policy autoscalingv2.HPAScalingPolicy) int32 {
		if policy.Type == autoscalingv2.PodsScalingPolicy {
			return start - policy.Value
		}
		return int32(float64(start) * (1 - float64(policy.Value)/100))
	}, false)
	if !ok {
		return current
	}
	return min(n, current)
}

// byPolicies selects among what the policies allow, each counted from the number at the beginning of
// its period. It is false where nothing is allowed.
func (p *past) byPolicies(rules *autoscalingv2.HPAScalingRules, current int32, now time.Time, allows func(int32, autoscalingv2.HPAScalingPolicy) int32, up bool) (int32, bool) {
	selectPolicy := autoscalingv2.MaxChangePolicySelect
	if rules.SelectPolicy != nil {
		selectPolicy = *rules.SelectPolicy
	}
	if selectPolicy == autoscalingv2.DisabledPolicySelect {
		return 0, false
	}
	highest := (selectPolicy == autoscalingv2.MaxChangePolicySelect) == up
	n := int32(math.MaxInt32)
	if highest {
		n = math.MinInt32
	}
	for _, policy := range rules.Policies {
		period := time.Duration(policy.PeriodSeconds) * time.Second
		allowed := allows(current-changed(p.ups, period, now)+changed(p.downs, period, now), policy)
		if highest {
			n = max(n, allowed)
		} else {
			n = min(n, allowed)
		}
	}
	return n, true
}

func changed(list []moment, period time.Duration, now time.Time) int32 {
	sum := int32(0)
	for _, m := range list {
		if now.Sub(m.at) < period {
			sum += m.n
		}
	}
	return sum
}

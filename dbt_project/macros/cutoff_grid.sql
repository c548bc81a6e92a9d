{#-
  The cutoff grid of a run: one frame per split with its first and last cutoff, the step between
  them and the time up to which its rows are visible. The rules are RelBench's:

    train    from T - validation_span - window back to the first event
    val      from T - validation_span, at most evaluation_cutoffs, windows closed at T
    test     from T, at most evaluation_cutoffs, windows closed by the last event in the data
    predict  T alone, when not even its own window is closed

  The first event is that among rows up to T; only the test frame depends on anything later.
-#}
{% macro cutoff_frames(task, history_relations) %}
    {%- set as_of = relforge.as_of() -%}
    {%- set bounds -%}
        with events as (
            {%- set timed = [] -%}
            {%- for name in history_relations if relforge.model_node(name).config.event_time -%}
                {%- do timed.append(name) -%}
            {%- endfor -%}
            {%- if not timed -%}
                {{ exceptions.raise_compiler_error(
                    "task " ~ model.name ~ ": none of " ~ (history_relations.keys() | join(', '))
                    ~ " has an event_time, so no cutoff can be placed. Declare config.event_time on"
                    ~ " the model that holds the events."
                ) }}
            {%- endif -%}
            {%- for name in timed %}
            select cast({{ adapter.quote(relforge.model_node(name).config.event_time) }} as timestamp) as happened_at
            from {{ history_relations[name] }}
            {%- if not loop.last %} union all {% endif -%}
            {%- endfor %}
        ),
        grid as (
            select
                timestamp '{{ as_of }}' as as_of,
                timestamp '{{ as_of }}' - interval '{{ task.validation_span }}' as val_start,
                interval '{{ task.window }}' as span,
                interval '{{ task.stride }}' as stride,
                (select min(happened_at) from events where happened_at <= timestamp '{{ as_of }}') as first_event,
                (select max(happened_at) from events) as last_event
        ),
        series as (
            select
                *,
                generate_series(val_start - span, first_event, -stride) as train,
                list_filter(
                    generate_series(val_start, val_start + stride * ({{ task.evaluation_cutoffs }} - 1), stride),
                    lambda t: t + span <= as_of
                ) as val,
                list_filter(
                    generate_series(as_of, as_of + stride * ({{ task.evaluation_cutoffs }} - 1), stride),
                    lambda t: t + span <= last_event
                ) as test
            from grid
        )
        select
            cast(train[-1] as varchar), cast(train[1] as varchar), len(train),
            cast(val[1] as varchar), cast(val[-1] as varchar), len(val),
            cast(test[1] as varchar), cast(test[-1] as varchar), len(test),
            cast(first_event as varchar), cast(last_event as varchar), len(train) > 0
        from series
    {%- endset -%}
    {%- set row = run_query(bounds).rows[0] -%}
    {%- set history = "the data reach from " ~ row[9] ~ " to " ~ row[10] ~ ", as_of is " ~ as_of
        ~ ", validation_span " ~ task.validation_span ~ ", window " ~ task.window -%}
    {%- if not row[2] -%}
        {{ exceptions.raise_compiler_error(
            "task " ~ model.name ~ ": no training window fits into the data (" ~ history
            ~ "). Shorten the window or the validation span, or choose a later as_of."
        ) }}
    {%- elif not row[5] -%}
        {{ exceptions.raise_compiler_error(
            "task " ~ model.name ~ ": no validation window closes at or before as_of (" ~ history
            ~ "). The validation span must be at least as long as the window."
        ) }}
    {%- endif -%}
    {%- set step = "interval '" ~ task.stride ~ "'" -%}
    {#- Body queries run from the first to the last cutoff, whatever direction the grid was laid. -#}
    {%- set frames = [
        {'split': 'train', 'first': row[1], 'last': row[0], 'step': '-' ~ step, 'visible_until': as_of},
        {'split': 'val', 'first': row[3], 'last': row[4], 'step': step, 'visible_until': as_of},
    ] -%}
    {%- if row[8] -%}
        {%- do frames.append(
            {'split': 'test', 'first': row[6], 'last': row[7], 'step': step, 'visible_until': none}
        ) -%}
    {%- else -%}
        {%- do frames.append(
            {'split': 'predict', 'first': as_of, 'last': as_of, 'step': step, 'visible_until': as_of}
        ) -%}
    {%- endif -%}
    {%- do return(frames) -%}
{% endmacro %}

"""Continuous batching of transformers' models, on one thread:

    request    what callers ask and get          engine     the thread, its queue, the streams
    sequence   a request in flight               plan       batched or single, how many slots, threads, compiled or not
    prompt     messages and photos as input      batch      a step: schedule, prefill, decode, postprocess
    sampling   the next token                    scheduler  who is served next, without tensors
    text       tokens to text                    runner     forward passes, without queues
    decisions  typed questions                   cache      slots, prefixes, photos
    chat_model LangChain's interface             packed, compiled   faster forward passes
    stats      counters                          single     one request at a time, for what cannot be batched

Decoding sequences occupy the first slots, prefilling ones the next, so either kind is contiguous in the cache; when one
ends, the last takes its slot.
"""

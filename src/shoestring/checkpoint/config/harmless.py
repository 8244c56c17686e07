"""Fields of config.json that cannot reach a model's arithmetic, whatever their value. `inspect` lists them.

Programs leave them in real files: older and newer transformers, trainers, converters. A field that is in none of these
lists, is not read and is not switched off is refused (`fields.Fields.finish`).
"""

from __future__ import annotations

#: transformers' base config, versions 4 and 5: about its own classes, results and loading. Those of it that could
#: change a model (pruned_heads, is_encoder_decoder, add_cross_attention) are not here.
_BASE = """
    finetuning_task prefix task_specific_params tokenizer_class auto_map custom_pipelines is_decoder
    tie_encoder_decoder torchscript use_bfloat16 tf_legacy_loss attn_implementation experts_implementation
    sep_token_id cls_token_id mask_token_id unk_token_id decoder_start_token_id base_model_tp_plan base_model_pp_plan
    device_map low_cpu_mem_usage model_max_length generation_config transformers.js_config
"""

#: transformers' generation config, which version 4 kept in config.json. A request and generation_config.json say it.
_GENERATION = """
    max_length max_new_tokens min_length min_new_tokens early_stopping max_time stop_strings do_sample num_beams
    num_beam_groups diversity_penalty penalty_alpha use_mtp cache_implementation cache_config max_cache_len temperature
    top_k top_p top_h min_p typical_p epsilon_cutoff eta_cutoff repetition_penalty encoder_repetition_penalty
    length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids force_words_ids constraints
    renormalize_logits forced_bos_token_id forced_eos_token_id forced_decoder_ids remove_invalid_values
    exponential_decay_length_penalty suppress_tokens begin_suppress_tokens sequence_bias token_healing guidance_scale
    watermarking_config num_return_sequences output_scores output_logits return_dict_in_generate is_assistant
    num_assistant_tokens num_assistant_tokens_schedule assistant_confidence_threshold prompt_lookup_num_tokens
    max_matching_ngram_size assistant_early_exit assistant_lookbehind target_lookbehind assistant_ensemble_weight
    speculation_type compile_config disable_compile continuous_batching_config low_memory dola_layers
    prefill_chunk_size presence_penalty frequency_penalty
"""

#: what trainers and converters leave behind; they act on losses, gradients and first values only
_TRAINING = """
    gradient_checkpointing gradient_checkpointing_kwargs use_reentrant initializer_factor initializer_cutoff_factor
    initializer_range label_smoothing layerdrop loss_type ignore_index keys_to_ignore_at_inference fuse_cross_entropy
    use_liger_kernel use_cut_cross_entropy use_mup seq_length max_seq_length max_window_layers train_batch_size
    unsloth_fixed unsloth_version model_name base_model_name_or_path license tags
"""

#: images are not read yet
_VISION = """
    projector_hidden_act vision_feature_layer vision_feature_select_strategy image_seq_length image_token_index
    video_token_index image_token_id video_token_id vision_start_token_id vision_end_token_id language_model_only
"""

_NAMES = frozenset(f"{_BASE} {_GENERATION} {_TRAINING} {_VISION}".split())
#: versions of libraries; of training: dropouts, weights of losses, noise in routers
_ENDINGS = ("_version", "_dropout", "_dropout_prob", "_pdrop", "_loss_coef", "_jitter_noise")


def is_harmless(name: str) -> bool:
    """Whether a field cannot change a logit. A leading underscore marks what a library keeps for itself."""
    return name in _NAMES or name.startswith("_") or name.endswith(_ENDINGS) or name in ("version", "dropout")

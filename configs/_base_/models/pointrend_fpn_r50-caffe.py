# SemanticFPN with PointRend (paper, section 5 and App. B): the point head reads P2, and the coarse prediction at every
# layer; points are chosen by the margin of probabilities.
_base_ = ['fpn_r50-caffe.py', '../heads/pointrend_semantic.py']

model = _base_.pointrend
model.decode_head.coarse_head = _base_.model.decode_head
model.decode_head.uncertainty = 'probabilities'
model.decode_head.point_head.loss_decode.avg_non_ignore = True

"""Tables of shape and indexing expressions, run by tdsl and by PyTorch: ` ;  ` between cases, ` ;; ` between a case's steps.

`T` is the library; SETUP makes the operands anew for each case.
"""

from __future__ import annotations

SETUP = """
x = T.arange(12.0).reshape(3, 4); I = T.tensor([[0, 1]]); c = T.arange(24.0).reshape(2, 3, 4); b = x > 4
r = T.ones(3, 4, requires_grad=True); i = T.arange(6).reshape(2, 3); u = i.to(T.uint8)
"""

# views, copies and grids: shape, strides, offset, contiguity and elements
ARRANGED = """
c.view(6,4) ;  c.view(-1) ;  c.transpose(0,2) ;  c.transpose(0,2).reshape(4,6) ;  c.permute(1,0,2).flatten(1) ;  c.permute(1,0,2).flatten(0,1) ;  c.T
c.mT ;  x.t() ;  x.H ;  c.mH ;  c.adjoint() ;  c.movedim(0,2) ;  c.moveaxis((0,1),(2,0)) ;  c.swapaxes(0,1) ;  c.swapdims(0,2) ;  x.expand(1,1,3,4)
T.broadcast_tensors(x[:1],x[:,:1]) ;  x.unflatten(1,(2,2)) ;  c.transpose(1,2).unflatten(1,(2,-1)) ;  c.ravel() ;  c.transpose(0,1).ravel()
x.unsqueeze(0) ;  x.unsqueeze(-1) ;  x.t().unsqueeze(1) ;  x.t().unsqueeze(2) ;  c.unsqueeze(1)[:, :, 1] ;  c.narrow(1,1,2) ;  c.narrow(1,-1,1)
c.select(1,2) ;  c.select(-1,-1) ;  c.split(2,1) ;  c.split([1,2],dim=1) ;  c.chunk(2,2) ;  c.chunk(3,0) ;  c.chunk(5,2) ;  T.ones(0,3).chunk(2)
T.ones(0,3).split(0) ;  T.ones(0,3).split(2) ;  c.tensor_split(2,1) ;  c.tensor_split((1,5,2),2) ;  c.tensor_split((-1,),2) ;  c.hsplit(3) ;  c.vsplit(2)
c.dsplit((1,2)) ;  T.arange(6).hsplit(2) ;  c.unbind(1) ;  c.transpose(0,2).unbind(-1) ;  c.diagonal() ;  c.diagonal(1) ;  c.diagonal(-1,1,2)
c.diagonal(0,-1,0) ;  x.diagonal(2) ;  x.diagonal(-2) ;  x.t().diagonal(1) ;  x.unfold(1,2,1) ;  x.unfold(0,2,2) ;  x.t().unfold(0,3,1)
c.unfold(-1,2,2) ;  x.as_strided((2,2),(1,2)) ;  x.as_strided((2,2),(1,2),3) ;  T.arange(8.).view(T.int32) ;  x.view(T.int32) ;  x.view(T.uint8)
x.view(T.float64) ;  x.t().view(T.int32) ;  x.view(T.uint8).view(T.float32) ;  i.view(T.int32) ;  i.view(T.float32).view(T.int64) ;  x.detach()
x.view_as(T.ones(4,3)) ;  x.reshape_as(T.ones(4,3)) ;  T.atleast_1d(T.tensor(1.)) ;  T.atleast_2d(x[0]) ;  T.atleast_3d(x[0]) ;  T.atleast_3d(x)
T.atleast_3d(T.tensor(1.)) ;  T.atleast_2d(x[0],T.tensor(1.)) ;  T.meshgrid(x[0],x[1]) ;  T.meshgrid(x[0],x[1,:2],indexing='xy') ;  list(x)
x.new_tensor(x[0].tolist()).stride() ;  c.transpose(0,1).contiguous() ;  c.contiguous() is c ;  x.flip(0) ;  x.flip((0,1)).stride() ;  x.flip(-1).stride()
x.t().roll(1,0) ;  x.t().repeat(1,2) ;  x.repeat(1,1) is x ;  x.t().tril() ;  T.row_stack([x,x]) ;  T.column_stack([x[0],x[1]]) ;  T.dstack([x[0],x[1]])
T.hstack([x[0],x[1]]) ;  T.hstack([T.tensor(1.),T.tensor(2)]) ;  T.vstack([T.tensor(1.),T.tensor(2)]) ;  T.block_diag(x[0],x,T.tensor(7),i)
T.combinations(T.arange(4),3) ;  T.combinations(T.arange(3),2,True) ;  T.cartesian_prod(T.arange(2),T.arange(3)) ;  T.cartesian_prod(T.arange(2))
T.tril_indices(3,4,1) ;  T.triu_indices(3,4,-1) ;  T.tril_indices(0,4) ;  T.diag(x) ;  T.diag(x[0],1) ;  T.diag(x[0],-2) ;  T.diag_embed(x,1,0,2)
T.diag_embed(x,-1) ;  T.diag_embed(b) ;  T.diagflat(i,1) ;  T.vander(x[0],3) ;  T.vander(i[0],increasing=True) ;  T.vander(i[0],0) ;  T.vander(x[0],1)
T.repeat_interleave(x,T.tensor([1,0,2]),0) ;  T.repeat_interleave(x,3) ;  x.repeat_interleave(T.tensor(2),1) ;  x.resize_(2,3)
x.resize_(2,3) ;; x
x.t().resize_(2,3) ;  x.resize_as_(T.ones(2,2)) ;  x.as_strided_((2,),(3,)) ;  x.squeeze_(0).shape
x.unsqueeze_(0) ;; x
x.t_() ;; x
x.transpose_(0,1) ;; x
x.swapaxes_(0,1) ;; x
x.swapdims_(0,1) ;; x
x.set_ is None
x.tril_(1) ;; x
x.view(12).view(3,4).stride() ;  T.flip(x,dims=(0,)) ;  x.permute(dims=(1,0)) ;  T.permute(x,dims=(1,0)) ;  x.view(size=(4,3)) ;  x.view(dtype=T.int32)
x.reshape(shape=(4,3)) ;  x.expand(size=(2,3,4)) ;  x.expand((2,3,4),implicit=False) ;  x.repeat(repeats=(2,1)) ;  T.tile(x,dims=(2,1))
T.movedim(x,source=0,destination=1) ;  x.narrow(dim=0,start=1,length=1) ;  T.select(x,dim=0,index=1) ;  T.roll(x,shifts=1,dims=0) ;  T.unbind(x,dim=1)
T.split(x,split_size_or_sections=2,dim=1) ;  x.split(split_size=2,dim=1) ;  T.tensor_split(x,indices=(1,),dim=1) ;  T.tensor_split(x,sections=2,dim=1)
T.hsplit(x,sections=2) ;  T.hsplit(x,indices=(1,)) ;  T.diagonal(x,offset=1,dim1=0,dim2=1) ;  x.unfold(dimension=0,size=2,step=1)
T.as_strided(x,size=(2,),stride=(1,),storage_offset=1) ;  T.squeeze(x,dim=0).shape ;  T.repeat_interleave(x,repeats=2,dim=0) ;  T.cat(tensors=[x,x],dim=1)
T.stack(tensors=[x,x],dim=-1) ;  T.flatten(x,start_dim=0,end_dim=1) ;  T.unflatten(x,dim=1,sizes=(2,2)) ;  T.broadcast_to(x,size=(2,3,4))
T.vander(x=x[0],N=2,increasing=True) ;  T.combinations(x[0],r=2,with_replacement=True) ;  T.view_copy(x,(4,3)) ;  T.view_copy(x,T.int32)
T.expand_copy(x,(2,3,4)).stride() ;  T.diagonal_copy(x).stride() ;  T.unfold_copy(x,1,2,1).stride() ;  T.as_strided_copy(x,(2,2),(1,2)).stride()
T.permute_copy(x,(1,0)).stride() ;  T.transpose_copy(x,0,1).stride() ;  T.t_copy(x).stride() ;  T.unbind_copy(x) ;  T.split_copy(x,2)
T.split_with_sizes(x,[1,2]) ;  T.unsafe_split(x,2) ;  T.unsafe_chunk(x,2) ;  T.narrow_copy(x,0,1,2) ;  T.detach_copy(x) ;  T.alias_copy(x)
T.select_copy(x,0,1) ;  T.slice_copy(x,0,1) ;  T.squeeze_copy(x) ;  T.unsqueeze_copy(x,0) ;  T.repeat_interleave(T.tensor([1,2]))
T.repeat_interleave(x,T.tensor([2]),0).shape ;  T.repeat_interleave(T.tensor([1,2]).int()).dtype ;  T.vander(T.tensor([1,2]).int()).dtype
T.vander(T.tensor([True])).dtype ;  T.cat([T.ones(0,dtype=T.float64),T.ones(2)]).dtype ;  T.cat([T.ones(0),T.ones(2,3),T.ones(0)],1).shape
T.cat([T.ones(0),T.ones(0)],0).shape ;  T.cat([T.ones(0),T.ones(0,3)],1).shape ;  T.block_diag().shape ;  T.block_diag(T.ones(2),T.ones(2,2).long()).dtype
T.combinations(x[0],0) ;  T.diagflat(T.tensor(1.)) ;  x.repeat(0,1).shape ;  x.tile(2).shape ;  T.flip(x,()).shape ;  r.view(T.int32) ;  r.view(T.float64)
r.view(T.uint8) ;  T.ones(()).mT ;  T.ones(()).H ;  T.ones(()).adjoint() ;  T.ones(()).mH ;  x.resize_(2,2).stride() ;  T.ones(1,1).expand(1,1,1)
T.ones(4).expand(1,4) ;  T.ones(3,4).transpose(0,1).flatten(0,0).stride() ;  T.narrow(x,0,T.tensor(0),1) ;  T.ones(()).unfold(0,1,1)
T.ones(3,3).unfold(0,0,2) ;  T.ones(()).unfold(0,0,1) ;  T.ones(3,3).diagonal(5) ;  T.ones(3,3).diagonal(-5)
r.data.zero_() ;; r
(r*1).view(-1).zero_() ;  (r*1).squeeze_() ;  (r*2).view(T.int32).zero_() ;  T.cat([r,x]).requires_grad ;  T.stack([r,r]) ;  r.diag_embed() ;  r.tril()
r.repeat_interleave(T.tensor([1,2,0]),0) ;  r.unfold(0,2,1) ;  r.as_strided((2,),(1,)) ;  T.alias_copy(r) ;  T.view_copy(r,T.int32) ;  r.flip(0)
r.roll(1) ;  r.expand(2,3,4) ;  r.long().requires_grad ;  r.T ;  r.sum_to_size(1,4) ;  T.atleast_3d(r) ;  T.block_diag(r,x) ;  T.meshgrid(r[0],x[0])
T.combinations(r[0]) ;  T.cartesian_prod(r[0],x[0]) ;  T.vander(r[0]) ;  x.requires_grad_().t().requires_grad ;  T.is_same_size(x,r) ;  x.dim_order()
x.t().dim_order() ;  c.permute(1,2,0).dim_order() ;  x.ndimension()
T.as_strided_(x,(2,),(1,)) ;; x
T.resize_as_(x,i) ;; x
T.detach(r) ;  T.diag_embed(x,offset=1,dim1=0,dim2=1).shape ;  T.diagflat(x,offset=1).shape ;  T.tril(x,diagonal=1) ;  T.tril_indices(3,3,offset=1)
T.tril_indices(row=3,col=3,offset=1) ;  T.block_diag(x) ;  T.cartesian_prod(T.arange(2),T.arange(2)) ;  T.meshgrid([x[0],x[1]],indexing='ij')[0].shape
T.atleast_1d([x,x]) ;  T.atleast_1d((T.tensor(1),)) ;  T.broadcast_tensors(x) ;  T.hstack((x,x)) ;  T.hstack(tensors=(x,x)) ;  T.roll(x,1,-1)
T.roll(x,[1],[-1]) ;  T.moveaxis(x,0,1) ;  T.swapaxes(x,axis0=0,axis1=1) ;  T.swapdims(x,dim0=0,dim1=1) ;  T.ravel(x) ;  T.unflatten(x,1,(2,2))
T.chunk(x,chunks=2,dim=1) ;  T.vsplit(x,3) ;  T.vsplit(x,(1,)) ;  T.dsplit(c,2) ;  T.narrow(x,0,T.tensor(1),1) ;  T.adjoint(x) ;  x.select(0,T.tensor(1))
x.expand_as(c) ;  x.expand(2,-1,-1) ;  T.zeros(4,0).unfold(0,2,1) ;  T.zeros(4,0).flip(0,1) ;  T.zeros(4,0).roll(1,0) ;  T.zeros(4,0).roll(1)
T.zeros(4,0).repeat(2,3) ;  T.zeros(4,0).repeat_interleave(2,0) ;  T.zeros(4,0).repeat_interleave(2) ;  T.zeros(4,0).tril() ;  T.zeros(4,0).diagonal()
T.zeros(4,0).diag() ;  T.zeros(0).diag() ;  T.zeros(0).diag(1) ;  T.zeros(4,0).diag_embed() ;  T.zeros(0).diagflat() ;  T.zeros(4,0).unbind(1)
T.zeros(4,0).split(2,1) ;  T.zeros(4,0).chunk(2,1) ;  T.zeros(4,0).tensor_split(2,1) ;  T.zeros(4,0).view(0,7) ;  T.zeros(4,0).view(-1)
T.zeros(4,0).reshape(0) ;  T.zeros(4,0).reshape(2,0,3).stride() ;  T.zeros(4,0).flatten() ;  T.zeros(4,0).unflatten(1,(0,3))
T.zeros(4,0).unflatten(0,(2,-1)) ;  T.zeros(4,0).expand(3,4,0) ;  T.zeros(4,0).t() ;  T.zeros(4,0).as_strided((2,0),(1,1))
T.cat([T.zeros(4,0),T.ones(4,2)],1) ;  T.stack([T.zeros(4,0)]*2) ;  T.block_diag(T.zeros(4,0),T.ones(1,2)) ;  T.combinations(T.zeros(0))
T.cartesian_prod(T.zeros(0),T.ones(2)) ;  T.meshgrid(T.zeros(0),T.ones(2)) ;  T.vander(T.zeros(0)) ;  T.tril_indices(0,0) ;  T.zeros(4,0)[1]
T.zeros(4,0)[:,None] ;  T.zeros(4,0)[[0,1]] ;  T.zeros(4,0)[T.zeros(4,0).bool()] ;  T.zeros(0,4)[T.zeros(0).bool()] ;  T.zeros(0,4)[:, [0,1]]
T.zeros(0,4)[[]] ;  T.zeros(0,4).view(T.int32) ;  T.zeros(0,4).view(T.uint8) ;  T.tensor(1.).flip(0) ;  T.tensor(1.).repeat(2) ;  T.tensor(1.).tile(2)
T.tensor(1.).repeat_interleave(2) ;  T.tensor(1.).repeat_interleave(T.tensor([2])) ;  T.tensor(1.).expand(2) ;  T.tensor(1.).squeeze(0)
T.tensor(1.).unsqueeze(0) ;  T.tensor(1.).flatten() ;  T.tensor(1.).reshape(1,1) ;  T.tensor(1.).view(()) ;  T.tensor(1.).T ;  T.tensor(1.).t()
T.tensor(1.).transpose(0,-1) ;  T.tensor(1.).movedim(0,0) ;  T.tensor(1.).permute(()) ;  T.tensor(1.).ravel() ;  T.tensor(1.).as_strided((),())
T.tensor(1.).view(T.int32) ;  T.cat([T.zeros(0,dtype=T.int64),T.zeros(0)]).dtype ;  T.cat([T.zeros(0),T.ones(2,2)],0)
T.cat([T.zeros(0),T.ones(2,2)],-1) ;  T.cat([u,b[:2,:3],i]) ;  T.stack([u,i]).dtype ;  T.hstack([T.tensor(1),T.tensor(2.)]) ;  x.stride(0) ;  x.stride(-1)
x.stride(dim=1) ;  x.size(0) ;  x.size(dim=1) ;  x.storage_offset() ;  len(x) ;  x.unbind(0)[1].storage_offset() ;  x.T.T.is_contiguous()
T.ones(1,3,1).transpose(0,2).is_contiguous() ;  T.zeros(0,3).t().is_contiguous() ;  x.element_size() ;  x.view(T.int16).element_size()
"""

# x[...]
INDEXED = """
c[:, :2].view(2,8) ;  c[:, :2].reshape(4,4) ;  c[:, ::2].view(2,2,2,2) ;  c[:, :1].squeeze(1) ;  c[:, :1].squeeze() ;  c[:, :1].squeeze((0,1))
c[:, 1:2].unsqueeze(0) ;  x[0].t() ;  x[:1].expand(3,4) ;  x[:1].expand(2,1,4) ;  x[:1].expand(2,3,4) ;  x[:1].expand(1,1,4) ;  x[:,:1].expand(1,3,4)
x[:,:1].expand_as(x) ;  x[0].broadcast_to((3,4)) ;  x[1:,1:].diagonal() ;  x[1:].as_strided((2,2),(1,2)) ;  x[1:].as_strided((2,2),(1,2),0)
x.t()[1:].as_strided((2,3),(0,2)) ;  x.t()[1:].as_strided((),()) ;  x[1:].view(T.uint8) ;  x[1:].view(T.float64) ;  x[:, :2].view(T.float64)
x[1:].detach().stride() ;  x[1] ;  x[:,1] ;  x[...,None] ;  x[None,:,None] ;  x[1:,::2] ;  x[-1,-2:] ;  x[1:1] ;  x[:, 5:] ;  x[()] ;  x[...]
c[0,...,1] ;  c[...,1:3] ;  x[T.tensor(1)] ;  x[True] ;  x[T.tensor(True)] ;  x[False] ;  x[None,True] ;  x[0,True] ;  x[:,[True,False,True,True]]
x[[0,2],1:3] ;  x[1:3,[0,2]] ;  c[[0,1],:,[1,2]] ;  c[:,[0,1],[1,2]] ;  c[0,:,[1,2]] ;  c[:,0,[1,2]] ;  c[[0,1],None,[1,2]] ;  c[[[0],[1]],[0,2]]
c[b[None].expand(2,3,4)] ;  c[:,b] ;  c[c>3] ;  c[T.tensor([True,False])] ;  c[T.tensor([True,False]),:,T.tensor([1])] ;  c[u.bool()[:,0]]
x[T.tensor([0,1],dtype=T.uint8).new_tensor([0,1,1])] ;  x[range(2)] ;  x[T.tensor([],dtype=T.long)] ;  x[[]] ;  x[T.zeros(2,0).long()]
x[T.zeros(3,dtype=T.bool)] ;  x[T.tensor([[0,1],[1,2]]),0] ;  x[:,T.tensor([[0,1],[1,2]])] ;  x[0][T.tensor(1)] ;  x[T.tensor(1),T.tensor([0,1])]
x[T.tensor(1),:] ;  x[slice(None,2),...,slice(1,None)] ;  x[slice(T.tensor(1),None)] ;  list(x[0]) ;  T.tensor(3.)[...] ;  T.tensor(3.)[None]
T.tensor(3.)[()] ;  T.tensor(3.)[True] ;  T.tensor(3.)[T.tensor(False)]
T.tensor([1.,float('nan')]).scatter_reduce(0,T.tensor([0,1]),T.tensor([float('nan'),3.]),'amax') ;  x[1:].resize_(2,3) ;  r[b] ;  r[[0,1]] ;  r[0]
T.tensor([1.,2.]).gather(0,T.tensor(1)) ;  x[[T.tensor([0,1]),T.tensor([1,2])]] ;  x[[T.tensor(0),T.tensor(1)]] ;  x[[[0,1],[1,2]]] ;  x[[[0,1],[1,2]],]
x[[slice(0,2),1]] ;  x[[0,slice(0,2)]] ;  x[[None,0]] ;  x[[...,0]] ;  x[[True,False,True]] ;  x[([0,1],[1,2])] ;  x[(slice(0,2),[0,1])] ;  x[[0,1],None]
x[T.Size([0,1])] ;  x[range(1,3)] ;  x[T.tensor([0,1]),T.tensor([[0],[1]])] ;  x[[0.0]] ;  x[None, None]
x[T.tensor([True,False,True]), T.tensor([True,False,True,False])] ;  c[b[:2,:3]] ;  c[:, b] ;  c[:, b, None] ;  c[0, b] ;  c[..., b]
c[T.tensor([1,0]), 1:, T.tensor([0,2])] ;  c[T.tensor([1,0]), ..., T.tensor([0,2])] ;  c[1, :, T.tensor([0,2])]
c[T.tensor([[1,0]]), T.tensor([0]), None] ;  c[None, T.tensor([1,0]), T.tensor([0,2])] ;  c[:, None, T.tensor([0,2]), T.tensor([0,1])]
c[T.tensor([1]), None, T.tensor([0])] ;  [v.storage_offset() for v in x] ;  x[:, :1].is_contiguous() ;  x[:1].is_contiguous()
x[:1, 1:2].is_contiguous()
"""

# reads and writes at positions
PLACED = """
x.index_put((b,),T.tensor(5.)) ;  x.index_put((T.tensor([0,0]),T.tensor([1,1])),T.tensor([5.,7.]),accumulate=True)
x.index_put((T.tensor([0,1]),),x[:1]) ;  x.index_put((T.tensor([[0],[1]]),T.tensor([1,2])),T.ones(2,2))
c.index_put((T.tensor([0,1]),T.tensor([1,2])),T.ones(4)) ;  b.index_put((T.tensor([0]),),T.tensor(True),accumulate=True)
i.index_put((T.tensor([0]),),T.tensor(4)) ;  T.where(b) ;  b.nonzero(as_tuple=True) ;  b.nonzero() ;  b.argwhere() ;  x.nonzero() ;  T.tensor(2).nonzero()
T.tensor(2).nonzero(as_tuple=True) ;  T.argwhere(T.tensor(2)) ;  T.repeat_interleave(x,2,dim=1,output_size=8) ;  T.take_along_dim(x,x.argsort(1),1)
T.take_along_dim(x,T.tensor([[3,2]]),1) ;  T.take_along_dim(x,T.tensor([3,2])) ;  T.nn.functional.one_hot(i) ;  T.nn.functional.one_hot(i,8)
T.nn.functional.one_hot(T.tensor([],dtype=T.long),3) ;  x.fill_diagonal_(9) ;  T.zeros(3,3,3).fill_diagonal_(5) ;  T.fill(x,2) ;  T.fill(i,2.7)
T.fill(x,T.tensor(2)) ;  i.masked_fill(b[:2,:3],2.9) ;  i.scatter(0,T.tensor([[0]]),2.9) ;  u.scatter(0,T.tensor([[0]]),-1)
u.scatter_add(0,T.tensor([[0]]),u) ;  x.scatter_reduce(0,T.tensor([[0,0]]),x,'amax') ;  i.scatter_reduce(0,T.tensor([[0,0],[0,0]]),i,'mean')
u.scatter_reduce(0,T.tensor([[0,0],[0,0]]),u,'mean',include_self=False) ;  u.scatter_reduce(0,T.tensor([[0,0],[0,0]]),u,'amin',include_self=False)
b.scatter_reduce(0,T.tensor([[0,0],[0,0]]),b,'prod',include_self=False) ;  x.index_reduce(0,T.tensor([0,0]),x[:2],'mean',include_self=False)
x.index_reduce(0,T.tensor([0,0]),x[:2],'prod') ;  i.index_reduce(1,T.tensor([0,0]),i[:,:2]-3,'mean')
x.put_(T.tensor([0,0]),T.tensor([1.,2.]),accumulate=True) ;; x
x.index_fill_(1,T.tensor([0]),-1) ;; x
x.masked_scatter_(b,T.ones(12)) ;; x
x.scatter_reduce_(0,T.tensor([[0,0]]),x+1,'amax') ;; x
x.index_reduce_(0,T.tensor([0]),x[:1]+1,'prod') ;; x
x.index_put_((T.tensor([0]),),T.tensor(3.)) ;; x
x.scatter_(0,T.tensor([[0]]),5.,reduce='add') ;; x
x.scatter_(0,T.tensor([[0]]),value=5.) ;; x
T.index_select(x,dim=0,index=T.tensor([0])) ;  T.gather(x,dim=0,index=I) ;  T.scatter(x,dim=0,index=I,src=x) ;  T.scatter(x,dim=0,index=I,value=1.)
T.take(x,index=T.tensor([1])) ;  T.masked_fill(x,mask=b,value=1.) ;  T.slice_scatter(x,T.zeros(1,4),dim=0,start=1,end=2,step=1)
T.select_scatter(x,src=T.zeros(4),dim=0,index=1) ;  T.diagonal_scatter(x,src=T.zeros(3),offset=0,dim1=0,dim2=1) ;  x.gather(0,I.int())
T.ones(0).take(T.tensor([],dtype=T.long)) ;  T.tensor(1.).index_select(0,T.tensor([0])) ;  T.tensor(1.).index_select(0,T.tensor(0))
x.index_select(0,T.tensor(0)).shape ;  x.scatter(0,I.int(),x) ;  x.scatter(0,I,x,reduce='add') ;  x.scatter(0,I,2,reduce='multiply')
x.scatter(0,T.tensor([],dtype=T.float32),x) is x ;  x.scatter_reduce(0,I,x,reduce='sum',include_self=False)[0] ;  x.index_fill(0,T.tensor([0,-1]),1.)[2]
x.put(T.tensor([0,-1]),T.ones(2))[2] ;  x.put(T.tensor([[0,-1]]),T.ones(2))[2] ;  x.long().masked_fill(x>1,1.5) ;  x.long().masked_fill(x>1,T.tensor(1.5))
(x>1).masked_fill(x>1,2) ;  x.masked_scatter(T.ones(2,3,4)>0,T.ones(24)).shape ;  T.unravel_index(T.tensor([1,5]),6) ;  T.nonzero_static(x,size=3)
T.nonzero_static(x[:1],size=5,fill_value=7) ;  T.nonzero_static(T.tensor(3.),size=2) ;  T.take_along_dim(x,T.tensor([[7]]),1)
T.take_along_dim(x,T.tensor([[-1]]),1) ;  T.select_scatter(x,T.ones(4).double(),0,0).dtype ;  T.zeros(7,3).fill_diagonal_(1,wrap=True).tolist()
T.zeros(3,7).fill_diagonal_(1,wrap=True).tolist() ;  T.zeros(3,7).T.fill_diagonal_(1,wrap=True).tolist()
r.detach().index_put_((T.tensor([0]),),T.tensor(1.)) ;; r
r.nonzero() ;  r.gather(0,I) ;  r.scatter(0,I,r) ;  r.masked_select(b) ;  r.masked_scatter(b,r) ;  r.index_select(0,T.tensor([0]))
r.take(T.tensor([0])) ;  r.put(T.tensor([0]),T.ones(1)) ;  x.put(T.tensor([0]),r[0,:1]) ;  x.index_fill(0,T.tensor([0]),r[0,0]) ;  x.masked_fill(b,r[0,0])
x.index_copy(0,T.tensor([0]),r[:1]) ;  x.index_add(0,T.tensor([0]),r[:1]) ;  x.scatter_add(0,I,r) ;  x.scatter_reduce(0,I,r,'amax')
x.select_scatter(r[0],0,0) ;  x.slice_scatter(r[:1],0,0,1) ;  x.diagonal_scatter(r[0,:3]) ;  x.as_strided_scatter(r[0],(4,),(1,)) ;  T.fill(x,r[0,0])
T.fill(r,1)
x.index_put_((b,),T.arange(7.)) ;; x
T.scatter_reduce(x,0,I,x,'sum') ;  T.scatter_reduce(x,0,I,x,reduce='prod',include_self=False) ;  T.index_reduce(x,0,T.tensor([0]),x[:1],reduce='amax')
T.index_add(x,dim=0,index=T.tensor([0]),source=x[:1],alpha=2) ;  T.index_copy(x,dim=0,index=T.tensor([0]),source=x[:1])
T.index_fill(x,dim=0,index=T.tensor([0]),value=1) ;  T.put(x,index=T.tensor([0]),source=T.ones(1),accumulate=True)
T.take_along_dim(x,indices=T.tensor([[0]]),dim=0) ;  T.masked_scatter(x,mask=b,source=x) ;  T.masked_select(x,mask=b)
T.nonzero(x,as_tuple=True)[0].shape ;  T.argwhere(x).shape ;  T.unravel_index(indices=T.tensor(5),shape=(2,3))[0].item() ;  T.where(u,i,0)
T.where(b,1,2) ;  T.where(b,1.5,x.double()) ;  T.where(b,x,i[:1,:1]) ;  x.where(b,0) ;  x.where(b,T.tensor(0)) ;  x.where(condition=b,other=0)
T.where(b[:,:1],x,-x) ;  T.where(condition=b,input=x,other=-x) ;  T.zeros(0,4).index_add(0,T.tensor([0,0]),T.ones(2,4))
T.zeros(0,4).masked_fill(T.zeros(0,4).bool(),1) ;  T.zeros(0,4).masked_scatter(T.zeros(0,4).bool(),T.ones(3))
T.zeros(0,4).masked_select(T.zeros(0,4).bool()) ;  T.zeros(4,0).index_add(0,T.tensor([0,0]),T.ones(2,0))
T.zeros(4,0).index_add(0,T.tensor([9,0]),T.ones(2,0)) ;  T.zeros(4,0).index_copy(0,T.tensor([0,0]),T.ones(2,0))
T.zeros(4,0).index_select(0,T.tensor([0,0])) ;  T.zeros(4,0).index_select(1,T.tensor([],dtype=T.long))
T.zeros(4,0).scatter(0,T.zeros(1,0).long(),T.ones(1,0)) ;  T.zeros(0,4).fill_diagonal_(1) ;  T.take_along_dim(T.zeros(0,4),T.zeros(0,4).long(),0)
T.tensor(1.).gather(0,T.tensor(0)) ;  T.tensor(1.).gather(0,T.tensor([0,0])) ;  T.tensor(1.).scatter(0,T.tensor(0),2.)
T.tensor(1.).scatter_reduce(0,T.tensor(0),T.tensor(5.),'mean') ;  T.tensor(1.).index_fill(0,T.tensor(0),2)
T.tensor(1.).index_copy(0,T.tensor(0),T.tensor(3.)) ;  T.tensor(1.).index_copy(0,T.tensor([0]),T.tensor([3.]))
T.tensor(1.).index_add(0,T.tensor(0),T.tensor(3.)) ;  T.tensor(1.).index_reduce(0,T.tensor([0]),T.tensor(3.),'prod') ;  T.tensor(1.).take(T.tensor(0))
T.tensor(1.).put(T.tensor(0),T.tensor(2.)) ;  T.tensor(1.).masked_fill(T.tensor(True),2) ;  T.tensor(1.).masked_select(T.tensor(True))
T.tensor(1.).masked_scatter(T.tensor(True),T.ones(2)) ;  T.tensor(1.).masked_fill(T.ones(2)>0,3) ;  T.gather(x,-1,I) ;  T.nonzero_static(x>99,size=2)
T.nonzero_static(T.zeros(0),size=2)
"""

# what is refused: the exception and its words
REFUSED = """
x[u[:1,:1]] ;  i.index_put((T.tensor([0]),),T.tensor(4.)) ;  T.nn.functional.one_hot(i,3) ;  T.nn.functional.one_hot(x) ;  T.nn.functional.one_hot(i-1)
T.nn.functional.one_hot(T.tensor([],dtype=T.long)) ;  u.masked_fill(b[:2,:3],300) ;  u.index_fill(0,T.tensor([0]),300) ;  u.fill_(300)
x.gather(0,I.float()) ;  x.gather(0,I.to(T.uint8)) ;  x.gather(0,T.tensor([1])) ;  x.gather(0,T.zeros(1,5,dtype=T.long)) ;  x.gather(2,I)
x.gather(0,T.tensor([[9]])) ;  x.gather(0,T.tensor([[-1]])) ;  x.take(T.tensor([1.])) ;  x.take(T.tensor([1],dtype=T.int32))
T.ones(0).take(T.tensor([0])) ;  x.index_select(0,T.tensor([1.])) ;  x.index_select(0,T.tensor([1],dtype=T.int16)) ;  x.index_select(0,T.tensor([[1]]))
T.tensor(1.).index_select(0,T.tensor([0,0])) ;  x.scatter(0,I.float(),x) ;  x.scatter(0,I,x.double()) ;  x.scatter(0,T.tensor([1]),x)
x.scatter(0,T.zeros(4,5).long(),x) ;  x.scatter(0,I,x[:,:1]) ;  x.scatter(0,T.tensor([[9]]),x) ;  x.scatter(0,T.tensor([[-1]]),x)
x.scatter(0,I,x,reduce='mean') ;  x.scatter(0,I,2+1j) ;  x.scatter_add(0,I,2.) ;  x.scatter_add(0,I,x.double()) ;  x.scatter_reduce(0,I,x,'foo')
x.scatter_reduce(0,I,x.double(),reduce='sum',include_self=False)[0] ;  x.index_add(0,T.tensor([0,1]),x) ;  x.index_add(0,T.tensor([0,1,9]),x)
x.index_add(0,T.tensor([0,1,-1]),x) ;  x.index_add(0,T.tensor([0,1,1.]),x) ;  x.index_add(0,T.tensor([0,1,1]),x.double())
x.index_add(0,T.tensor([0,1,1]),x[0]) ;  x.index_add(0,T.tensor([[0,1,1]]),x) ;  x.index_add(0,T.tensor([0,1,1]),x[:,:2])
x.index_add(2,T.tensor([0,1,1]),x) ;  x.index_copy(0,T.tensor([0,1]),x) ;  x.index_copy(0,T.tensor([0,1,1]).int(),x)
x.index_copy(0,T.tensor([0,1,1]),x.double()) ;  x.index_copy(0,T.tensor([0,1,1]),x[:,:2]) ;  x.index_copy(0,T.tensor([[0,1,1]]),x)
x.index_copy(0,T.tensor(0),x) ;  x.index_fill(0,T.tensor([0,9]),1.) ;  x.index_fill(0,T.tensor([0,1]).int(),1.)[2] ;  x.index_fill(0,T.tensor([[0,1]]),1.)
x.index_fill(0,T.tensor([0,1]),T.ones(2)) ;  x.index_fill(0,T.tensor([0,1]),T.ones(1)) ;  x.index_reduce(0,T.tensor([0,1]),x,'prod')
x.index_reduce(0,T.tensor([0,1,2]),x,'sum') ;  x.index_reduce(0,T.tensor([0,1,2]),x.double(),'prod') ;  x.index_reduce(0,T.tensor([0,1,2.]),x,'prod')
x.put(T.tensor([0,1]),T.ones(3)) ;  x.put(T.tensor([0,1]).int(),T.ones(2)) ;  x.put(T.tensor([0,1]),T.ones(2).double())
x.index_put((T.tensor([0,1]),),T.ones(3)) ;  x.index_put((T.tensor([0,1]),),T.ones(4).double()) ;  x.index_put((T.tensor([0,1.]),),T.ones(4))
x.index_put((T.tensor([0,1]),T.tensor([0,1]),T.tensor([0,1])),T.ones(4)) ;  x.index_put((T.tensor([0,9]),),T.ones(4))
x.index_put((T.tensor([0,1]),T.tensor([0,1,2])),T.ones(4)) ;  x.masked_fill(x.long(),1.) ;  x.masked_fill(x>1,T.ones(1))
x.masked_fill(T.ones(2,dtype=T.bool),1.) ;  x.masked_fill(x>1,1j) ;  x.masked_select(x.long()) ;  x.masked_select(T.ones(2,dtype=T.bool))
x.masked_select((x>1).byte()).shape ;  x.masked_scatter(x>1,T.ones(2)) ;  x.masked_scatter(x>1,T.ones(12).double())
x.masked_scatter(x.long(),T.ones(12)) ;  x.fill(T.ones(2)) ;  x.fill(T.ones(1)) ;  T.unravel_index(T.tensor([1.,5]),(2,3))
T.unravel_index(T.tensor([1,5]),(2,-3)) ;  T.nonzero_static(x,size=-3) ;  T.take_along_dim(x,T.tensor([[0.]]),1) ;  T.take_along_dim(x,T.tensor([0]),1)
x[T.tensor([9])] ;  x[5] ;  x[T.tensor([0,1]),T.tensor([0,1,2])] ;  x[1.0] ;  x[::-1] ;  x[0,0,0] ;  T.tensor(1.)[0] ;  x[T.tensor([1.])]
x[T.ones(2)>0] ;  x[[True,False]] ;  x.__setitem__(0,T.ones(3)) ;  x.__setitem__(T.tensor([0,1]),T.ones(3)) ;  x.__setitem__(x>1,T.ones(3))
x.__setitem__(x>1,T.ones(10).double()) ;  x.__setitem__((0,0),T.ones(2)) ;  x.__setitem__(0,'a') ;  T.select_scatter(x,T.ones(3),0,0)
T.slice_scatter(x,T.ones(3),0,0) ;  T.slice_scatter(x,T.ones(1,4),0,0,2).shape ;  T.diagonal_scatter(x,T.ones(4))
T.as_strided_scatter(x,T.ones(4),(3,),(1,)) ;  T.select_scatter(x,T.ones(1,4),0,0) ;  T.ones(3).fill_diagonal_(1) ;  T.ones(3,2,2).fill_diagonal_(1)
T.tril_indices(-1,2) ;  T.repeat_interleave(T.tensor(2)) ;  T.repeat_interleave(T.tensor([1,-2])) ;  T.repeat_interleave(x,T.tensor([1,2]),0)
T.repeat_interleave(x,-1) ;  T.repeat_interleave(x,T.tensor([[2]]),0) ;  T.repeat_interleave(x,2,0,output_size=3)
T.repeat_interleave(x,T.tensor([1,2,1]),0,output_size=3) ;  T.vander(T.tensor([1,2]),-1) ;  T.vander(x) ;  T.cat([]) ;  T.cat([x,T.tensor(1.)])
T.cat(x) ;  T.cat([x,2]) ;  T.cat([T.ones(2,3),T.ones(3,3)],1) ;  T.stack([x,x[0]]) ;  T.roll(x,(),0) ;  T.roll(x,(1,2)) ;  T.block_diag(T.ones(2,2,2))
T.cartesian_prod(T.ones(2,2)) ;  T.cartesian_prod() ;  T.combinations(x) ;  T.combinations(x[0],-1) ;  T.diag(T.ones(2,2,2)) ;  T.diag(T.tensor(1.))
T.diag_embed(x,0,0,0) ;  T.diag_embed(T.tensor(1.)) ;  T.meshgrid() ;  T.meshgrid(x[0],x[0].long()) ;  T.meshgrid(x[0],x[0],indexing='a')
x.repeat(-1,1) ;  x.repeat(1) ;  T.flip(x,(0,0)) ;  T.flip(x,(5,)) ;  x[:,:3].view(T.float64) ;  x.T.view(T.float64) ;  T.ones(()).view(T.uint8)
x[:,1:].view(T.float64) ;  x.sum_to_size(2,2) ;  T.ones(3).mT ;  T.ones(3).H ;  T.ones(2,3,4).H ;  T.ones(3).adjoint() ;  T.broadcast_shapes((2,3),(4,))
T.broadcast_shapes(-1) ;  T.broadcast_tensors(T.ones(2,3),T.ones(4)) ;  x.as_strided((2,2),(1,)) ;  x.as_strided((20,),(1,)) ;  x.as_strided((2,),(-1,))
x.as_strided((2,),(1,),-1) ;  x.as_strided((-2,),(1,)) ;  r.resize_(2) ;  x.unflatten(1,()) ;  x.unflatten(1,(3,2)) ;  x.unflatten(1,(-1,3))
x.expand(-1,3,2) ;  x.expand(-2,2) ;  x.expand(2) ;  x.expand(5,2) ;  T.ones(3,4).movedim((0,0),(1,1)) ;  T.ones(3,4).movedim((0,1),(1,1))
T.ones(3,4).permute(0,0) ;  T.ones(3,4).view(-1,-1) ;  T.ones(3,4).view(-2,1) ;  T.ones(0,4).view(-1,0) ;  T.ones(3,4).flatten(1,0)
T.ones(3,4).squeeze((0,0)) ;  T.ones(3,4).unsqueeze(5) ;  T.ones(3,4).narrow(0,-5,1) ;  T.ones(3,4).narrow(0,0,-1) ;  T.ones(3,4).narrow(0,4,0)
T.ones(3,4).narrow(0,2,2) ;  T.ones(3,4).select(0,5) ;  T.ones(()).select(0,0) ;  T.ones(3,4).split(-1) ;  T.ones(3,4).split(0)
T.ones(3,4).split([1,1]) ;  T.ones(3,4).split([1,-1,3]) ;  T.ones(()).split(1) ;  T.ones(()).unbind() ;  T.ones(()).chunk(1) ;  T.ones(3).chunk(0)
T.ones(()).tensor_split(1) ;  T.ones(3).tensor_split(0) ;  T.ones(3).tensor_split(T.ones(2)) ;  T.ones(3).tensor_split(T.ones(2,2).long())
T.ones(()).hsplit(1) ;  T.ones(3).hsplit(2) ;  T.ones(3).vsplit(2) ;  T.ones(3,3).vsplit(2) ;  T.ones(3,3).dsplit(2) ;  T.ones(3,3,3).dsplit(2)
T.ones(3,3,3).dsplit(0) ;  T.ones(3,3).unfold(0,4,1) ;  T.ones(3,3).unfold(0,-1,1) ;  T.ones(3,3).unfold(0,1,0) ;  T.ones(()).unfold(0,2,1)
T.ones(3,3).diagonal(0,0,0) ;  T.ones(3).diagonal() ;  r[0].add_(1) ;  r.view(-1).add_(1)
r.t_() ;; r
r.fill_diagonal_(1) ;  r.fill_(1) ;  r[0]=1 ;  exec('r[0]=1') ;  r.__setitem__(0,1) ;  r.__setitem__([0],1) ;  r.__setitem__(r>2,1)
r.squeeze_() ;; r
r.index_put_((T.tensor([0]),),T.tensor(1.)) ;  r.as_strided((2,),(1,)).add_(1)
r.unsqueeze_(0) ;; r
r.detach_copy()
x.index_put_((b,),T.arange(6.)) ;; x
x.narrow(0,T.tensor([1]),1) ;  x.expand(-1,2,-1) ;  x.reshape(-1,0) ;  x.reshape(5,-1) ;  x.view(5,2) ;  x.t().view(-1) ;  x.unsqueeze(-4)
x.unsqueeze(3) ;  x.squeeze(5) ;  x.transpose(0,2) ;  x.permute(0,2) ;  x.permute(0) ;  x.flatten(3) ;  x.movedim(0,5) ;  x.movedim((0,1),(1,))
x.diagonal(0,0,2) ;  x.unfold(3,1,1) ;  x.select(2,0) ;  x.split(1,2) ;  x.chunk(2,2) ;  x.unbind(2) ;  x.repeat() ;  x.tile() ;  x.flip() ;  x.flip(2)
x.roll(1,2) ;  T.cat([x,x],2) ;  T.cat([x,c]) ;  T.stack([x,x],4) ;  T.stack([]) ;  T.hstack([]) ;  T.dstack([]) ;  T.column_stack([]) ;  T.vstack(x)
T.rot90(x,1,(0,)) ;  T.rot90(x,1,(0,0)) ;  T.rot90(x[0]) ;  x.tril(1.5) ;  x[0].tril() ;  x.gather(0) ;  x.gather(0,[0]) ;  x.gather(0.5,I)
x.index_select(0,[0]) ;  x.take([0]) ;  x.reshape('a') ;  x.permute('a') ;  x.transpose('a',0) ;  x.unsqueeze() ;  x.unsqueeze(0.5) ;  x.expand()
x.split('a') ;  x.split([1.5,1.5]) ;  x.flip('a') ;  T.cat(1) ;  T.cat([1,2]) ;  T.stack(1) ;  T.meshgrid(1) ;  T.block_diag(1) ;  x.diagonal('a')
x.unfold(0,1) ;  x.index_add(0,T.tensor([0]),1) ;  x.put(0,1) ;  T.where(1) ;  x.select(0) ;  x.select(0,1.5) ;  x.sum_to_size('a') ;  x.as_strided(2,1)
x.as_strided((2,),1) ;  T.where(x,x,x) ;  T.where(b,T.ones(2),x) ;  T.zeros(0,4).scatter(0,T.zeros(1,4).long(),T.ones(1,4))
T.zeros(0,4).scatter_add(0,T.zeros(1,4).long(),T.ones(1,4)) ;  T.zeros(0,4).scatter_reduce(0,T.zeros(1,4).long(),T.ones(1,4),'sum')
T.zeros(0,4).gather(0,T.zeros(1,4).long()) ;  T.zeros(0,4).put(T.tensor([0]),T.ones(1)) ;  T.zeros(0,4).take(T.tensor([0]))
T.tensor(1.).index_add(0,T.tensor([0]),T.tensor([3.])) ;  T.tensor(1.).split(1) ;  T.tensor(1.).narrow(0,0,1) ;  T.tensor(1.).diag_embed()
T.tensor(1.).tril() ;  T.cat([T.zeros(0),T.ones(2,2)],2) ;  x[[[True,False,True,False]]*3] ;  x[T.tensor(0.)] ;  x[{}] ;  x[{0}] ;  x[0:1.5] ;  x['a':]
x[1j] ;  x[:, :, 0] ;  x[..., 0, 0, 0] ;  x[T.tensor([[True,False],[True,False]])] ;  x[T.tensor([True,False,True]), T.tensor([True,False,True,True])]
x[b, 0] ;  x[b.t()] ;  x.stride(5) ;  x.size(-3) ;  len(T.tensor(1.)) ;  list(T.tensor(1.))
"""


def cases(table: str) -> list[str]:
    return [case.strip() for line in table.strip().splitlines() for case in line.split(" ;  ") if case.strip()]
